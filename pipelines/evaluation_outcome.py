"""What an evaluation comes to: numbers, a verdict where there is a gate, and reports of both."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.report.evaluation_content import evaluation_content
from pipelines.report.number_format import counted, printable
from pipelines.report.report_files import write_reports
from pipelines.report.terminal import evaluation_summary
from servable_core.runtime.clock import Clock
from transforms.evaluation.finalise import evaluation_results
from transforms.evaluation.formula_digest import formula_digest
from transforms.evaluation.gate import decide
from transforms.evaluation.gate_config import GateConfig
from transforms.evaluation.metric_tables import write_metrics
from transforms.evaluation.results import EvaluationResults, slice_name
from transforms.evaluation.slices import NULL_VALUE
from transforms.evaluation.state_files import SavedEvaluation
from transforms.evaluation.verdict import Verdict, VerdictInputs
from transforms.evaluation.verdict_files import write_verdict
from transforms.storage import TEMPORARY_DIRECTORY, discard_tree

EXIT_NO_GATE = 0
_MAX_EMPTY_SLICES = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationOutcome:
    """What an evaluation came to.

    Attributes:
        output: Output directory.
        results: What was measured.
        verdict: What the gate decided; None without a gate.
        lines: What to tell on a terminal.
    """

    output: str
    results: EvaluationResults
    verdict: Verdict | None
    lines: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """What the process exits with."""
        return EXIT_NO_GATE if self.verdict is None else self.verdict.exit_code


def tell_outcome(
    saved: SavedEvaluation,
    output: str,
    gate: GateConfig | None,
    *,
    clock: Clock,
    started_secs: float,
    unit_secs: float | None = None,
    metrics_directory: str | None = None,
) -> EvaluationOutcome:
    """Finalises an evaluation, judges it, and writes metrics, verdict and reports below `output`.

    Args:
        saved: The evaluation.
        output: Output directory.
        gate: What judges it; None for nothing.
        clock: What tells how long all of it took.
        started_secs: When it began, by that clock.
        unit_secs: What its units took, where any ran.
        metrics_directory: Where the metrics of these states may have been written already.
    """
    results = evaluation_results(saved, metrics_directory)
    write_metrics(
        results,
        output,
        saved.setup.confidence_level,
        saved.facts,
        states_sha256=saved.sha256,
        formulas_sha256=formula_digest(saved.setup.metrics),
    )
    verdict = None
    if gate is not None:
        verdict = decide(
            results,
            gate,
            inputs=verdict_inputs(saved.facts, gate),
            row_metrics=saved.setup.options().row_metrics,
        )
        write_verdict(verdict, output)
    lines = [
        *_report(saved, results, verdict, output),
        *_empty_slice_lines(saved, results),
        *_noise_lines(saved),
    ]
    discard_tree(f"{output}/{TEMPORARY_DIRECTORY}")
    done = _done_line(results, clock.now() - started_secs, unit_secs)
    return EvaluationOutcome(
        output=output,
        results=results,
        verdict=verdict,
        lines=(*lines, f"  output  {output}", done),
    )


def _empty_slice_lines(saved: SavedEvaluation, results: EvaluationResults) -> list[str]:
    """Returns which values and buckets that were asked for no row has: one may be misspelt."""
    found = {each.key for each in results.slices}
    empty = [
        printable(slice_name(key))
        for key in saved.catalog.keys
        if key not in found and NULL_VALUE not in dict(key).values()
    ]
    if not empty:
        return []
    others = len(empty) - _MAX_EMPTY_SLICES
    more = f" and {counted(others, 'other slice')}" if others > 0 else ""
    return [f"  empty   no row is in {'; '.join(empty[:_MAX_EMPTY_SLICES])}{more}"]


def _noise_lines(saved: SavedEvaluation) -> list[str]:
    floor = saved.facts.get("noise_floor")
    if floor is None:
        return []
    flips = round(floor["flip_rate"] * floor["rows"])
    runs = f"two runs of version {saved.setup.versions[0]}"
    most = f"differ by at most {floor['max_difference']:.2g}"
    return [f"  A/A     {runs} {most}; {flips:,} of {floor['rows']:,} decisions flip"]


def _done_line(results: EvaluationResults, total_secs: float, unit_secs: float | None) -> str:
    rows, versions = results.slices[0].num_rows, len(results.versions)
    if unit_secs is None:
        return f"done in {total_secs:.1f} s, from the states of {rows:,} rows"
    of_versions = f" x {versions} versions" if versions > 1 else ""
    rate = rows / max(unit_secs, 1e-9)
    return (
        f"done: {rows:,} rows{of_versions} in {unit_secs:.1f} s, {rate:,.0f} rows/s"
        f" ({total_secs:.1f} s with start-up)"
    )


def verdict_inputs(facts: Mapping[str, Any], gate: GateConfig) -> VerdictInputs:
    """Returns what a verdict is about."""
    return VerdictInputs(
        config_sha256=gate.sha256(),
        data_fingerprint=facts["data_fingerprint"],
        models={int(version): each for version, each in facts["models"].items()},
    )


def _report(
    saved: SavedEvaluation, results: EvaluationResults, verdict: Verdict | None, output: str
) -> list[str]:
    """Writes the reports, and returns the lines that tell the same on a terminal."""
    content = evaluation_content(saved, results, verdict)
    written = write_reports(content, output)
    report = written.problem or f"  report  {written.html}"
    return [*evaluation_summary(content), report]

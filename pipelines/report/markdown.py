"""`report.md`: the short form for a pull request."""

import re
from collections.abc import Iterator, Sequence

from pipelines.report.comparison import Comparison, Effect, comparisons
from pipelines.report.content import ReportContent
from pipelines.report.gate_view import RuleLine, headline, is_kept, rule_line, tally, worst_first
from pipelines.report.highlights import SliceHighlights, highlights
from pipelines.report.metric_groups import main_metrics
from pipelines.report.metric_table import Cell, comparison_cells
from pipelines.report.number_format import counted, printable
from pipelines.report.row_problems import num_problem_rows, repeated_keys_warning, small_slices
from transforms.evaluation.verdict import CandidateVerdict, Verdict, gravity

_MAX_RULES = 20
_SIGNS = {
    Effect.BETTER: "▲",
    Effect.WORSE: "▼",
    Effect.CHANGED: "◆",
    Effect.UNCLEAR: "●",
    Effect.NEITHER: "",
}
# What means something to a Markdown reader: slices are nobody's table cells, links or tags.
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~@&$])")


def render_markdown(content: ReportContent) -> str:
    """Returns the summary as GitHub's Markdown."""
    return "\n".join([*_heading(content), *_gate(content), *_candidates(content), *_end(content)])


def escaped(text: str) -> str:
    """Returns text from the data that means itself, in a cell of a table too."""
    return _SPECIAL.sub(r"\\\1", printable(text))


def _heading(content: ReportContent) -> Iterator[str]:
    results, verdict = content.results, content.verdict
    word = "Evaluation" if verdict is None else verdict.status.value
    versions = ", ".join(map(str, results.candidates))
    against = f" {versions} against {results.baseline}" if versions else f" {results.baseline}"
    yield f"## {word}: {escaped(results.model_name)}{against}"
    yield ""
    scored = sum(each.is_scored for each in results.slices) - 1
    said = [
        f"{counted(results.slices[0].num_rows, 'row')} evaluated",
        f"{counted(scored, 'slice')} scored",
    ]
    small, left_out = len(small_slices(content)), num_problem_rows(content)
    said += [f"{counted(small, 'slice')} too small"] if small else []
    said += [f"{counted(left_out, 'row')} left out"] if left_out > 0 else []
    yield f"{', '.join(said)}. Brackets hold {content.level_name} confidence intervals."
    warning = repeated_keys_warning(content)
    if warning:
        yield from ("", f"{warning}.")


def _gate(content: ReportContent) -> Iterator[str]:
    verdict = content.verdict
    if verdict is None:
        yield from ("", "No gate was configured, so nothing was decided.")
        return
    for each in sorted(verdict.candidates, key=lambda each: -gravity(each.status)):
        yield from _verdict(verdict, each)


def _verdict(verdict: Verdict, candidate: CandidateVerdict) -> Iterator[str]:
    yield ""
    yield f"**{candidate.status.value}** {headline(verdict, candidate)} ({tally(candidate)})."
    if candidate.problem:
        yield from ("", f"- {escaped(candidate.problem)}")
    rules = [rule_line(each) for each in worst_first(candidate) if not is_kept(each)]
    if not rules:
        return
    columns = ("Outcome", "Metric", "Slice", "Rows", "Measured", "Allowed", "Why")
    yield from _table(columns, "lllrrll", [_rule_cells(each) for each in rules[:_MAX_RULES]])
    if len(rules) > _MAX_RULES:
        yield from ("", f"and {counted(len(rules) - _MAX_RULES, 'more check')} in `verdict.json`")


def _rule_cells(rule: RuleLine) -> Sequence[str]:
    measured = f"{rule.measured} {rule.interval}".strip()
    texts = (rule.metric, rule.slice_name, rule.rows, measured, rule.allowed, rule.reason)
    return (f"**{rule.status.value}**", *(escaped(each) for each in texts))


def _candidates(content: ReportContent) -> Iterator[str]:
    for each in highlights(content):
        yield from ("", f"### Version {each.candidate}")
        main = main_metrics(comparisons(content, each.candidate))
        baseline = content.results.baseline
        columns = ("Metric", f"Version {baseline}", f"Version {each.candidate}", "Change", "")
        yield from _table(columns, "lrrrc", [_cells(line.name, line) for line in main])
        for found in each.slices:
            yield from _slices(found)


def _slices(found: SliceHighlights) -> Iterator[str]:
    name = escaped(found.overall.name)
    many = counted(len(found.ranked), "slice")
    yield ""
    yield f"By {name}, {_counts(found)} of {many}."
    shown = found.first_worse or found.first_changed
    if not shown:
        return
    columns = ("Slice", "Rows", "Baseline", "Candidate", f"Change of {name}", "")
    rows = [
        (first, f"{each.slice.num_rows:,}", *others)
        for each in shown
        for first, *others in [_cells(each.slice.name, each.comparison)]
    ]
    yield from _table(columns, "lrrrrc", rows)


def _counts(found: SliceHighlights) -> str:
    if not found.has_direction:
        return f"clearly other on {len(found.changed):,}"
    return f"clearly worse on {len(found.worse):,} and clearly better on {len(found.better):,}"


def _cells(name: str, comparison: Comparison) -> Sequence[str]:
    cells = comparison_cells(comparison)
    return (
        escaped(name),
        _value(cells.baseline),
        _value(cells.candidate),
        _value(cells.change),
        _SIGNS[comparison.effect],
    )


def _value(cell: Cell | None) -> str:
    return "" if cell is None else f"{cell.value} {cell.interval}".strip()


def _table(columns: Sequence[str], alignment: str, rows: Sequence[Sequence[str]]) -> Iterator[str]:
    rules = {"l": ":--", "r": "--:", "c": ":-:"}
    yield ""
    yield f"| {' | '.join(columns)} |"
    yield f"| {' | '.join(rules[each] for each in alignment)} |"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _end(content: ReportContent) -> Iterator[str]:
    files = ["[report.html](report.html)", "[metrics.json](metrics.json)"]
    files += ["[verdict.json](verdict.json)"] if content.verdict is not None else []
    yield from ("", f"The whole report: {', '.join(files)}.", "")

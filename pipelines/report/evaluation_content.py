"""A report's content, from an evaluation that is done."""

from pipelines.report.content import ReportContent
from pipelines.report.lineage_facts import lineage_facts
from transforms.evaluation.results import EvaluationResults
from transforms.evaluation.state_files import SavedEvaluation
from transforms.evaluation.verdict import Verdict
from transforms.metrics import curves_of, top_rows, transitions

_ALL_ROWS = 0


def evaluation_content(
    saved: SavedEvaluation, results: EvaluationResults, verdict: Verdict | None
) -> ReportContent:
    """Returns what a report tells of an evaluation.

    Args:
        saved: Its states.
        results: What was measured: `evaluation_results(saved)`.
        verdict: What the gate decided; None without a gate.
    """
    setup, options = saved.setup, saved.setup.options()
    return ReportContent(
        task=setup.task,
        results=results,
        verdict=verdict,
        curves={
            version: curves_of(options, saved.states, _ALL_ROWS, index)
            for index, version in enumerate(setup.versions)
        },
        top_rows={
            version: top_rows(saved.states, _ALL_ROWS, index)
            for index, version in enumerate(setup.versions)
            if index
        },
        transitions={
            version: transitions(saved.states, _ALL_ROWS, index)
            for index, version in enumerate(setup.versions)
            if index
        },
        facts=lineage_facts(saved.facts, setup),
        class_names=setup.class_names,
        row_metrics=options.row_metrics,
        confidence_level=setup.confidence_level,
        min_slice_rows=setup.min_slice_rows,
    )

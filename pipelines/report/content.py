"""What a report tells of; how it is told is the business of the other modules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from transforms.evaluation.results import EvaluationResults
from transforms.evaluation.verdict import Verdict
from transforms.metrics import Curves, RowMetric, Task, TopRow, Transition

COMMAND_LINE = "command line"
"""The fact that is shown as a command."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportContent:
    """All that a report tells of.

    Attributes:
        task: What the model predicts.
        results: What was measured.
        verdict: What the gate decided; None where there is none.
        curves: Of all rows, by version.
        top_rows: The most different rows of all, by candidate.
        transitions: The most frequent changes of class, by candidate.
        facts: Where the numbers come from, by name, in order: models, data, configuration,
            packages, and the command line under `COMMAND_LINE`.
        class_names: Of a multiclass task, in the order of the scores; empty for numbers.
        row_metrics: Metrics of your own, which say themselves what they mean.
        confidence_level: Of the intervals.
        min_slice_rows: Slices with fewer rows are listed, not scored.
    """

    task: Task
    results: EvaluationResults
    verdict: Verdict | None = None
    curves: Mapping[int, Curves] = field(default_factory=dict)
    top_rows: Mapping[int, Sequence[TopRow]] = field(default_factory=dict)
    transitions: Mapping[int, Sequence[Transition]] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    class_names: Sequence[str] = ()
    row_metrics: Sequence[RowMetric] = ()
    confidence_level: float = 0.95
    min_slice_rows: int = 30

    @property
    def level_name(self) -> str:
        """The level of the intervals, as `95 %`."""
        return f"{100 * self.confidence_level:g} %"

    def class_name(self, index: int) -> str:
        """Returns the name of a class, its number where it has none."""
        return self.class_names[index] if index < len(self.class_names) else str(index)

"""What changed, and for whom: the few numbers and slices that a reader looks at first."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.report.comparison import Comparison, Effect, compared, comparisons
from pipelines.report.content import ReportContent
from pipelines.report.gate_view import sliced_metrics
from pipelines.report.metric_groups import first_metrics, slice_metric
from pipelines.report.slice_ranking import SliceComparison, ranked_slices, with_effect
from transforms.evaluation.results import ALL_ROWS

_MAX_TILES = 4
_MAX_METRICS = 3
_MAX_SLICES = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceHighlights:
    """The slices that changed most by one metric.

    Attributes:
        overall: The metric on all rows.
        ranked: All slices, the worst first.
    """

    overall: Comparison
    ranked: Sequence[SliceComparison]

    @property
    def worse(self) -> list[SliceComparison]:
        """The slices that are clearly worse, the worst first."""
        return with_effect(self.ranked, Effect.WORSE)

    @property
    def better(self) -> list[SliceComparison]:
        """The slices that are clearly better, the best first."""
        return with_effect(self.ranked, Effect.BETTER)

    @property
    def changed(self) -> list[SliceComparison]:
        """The slices that clearly changed, where neither way is better; the clearest first."""
        return with_effect(self.ranked, Effect.CHANGED)

    @property
    def first_changed(self) -> list[SliceComparison]:
        """The few to show first."""
        return self.changed[:_MAX_SLICES]

    @property
    def has_direction(self) -> bool:
        """Whether changes of the metric are for the better or the worse."""
        return self.overall.oriented_change() is not None

    @property
    def first_worse(self) -> list[SliceComparison]:
        """The few to show first."""
        return self.worse[:_MAX_SLICES]

    @property
    def first_better(self) -> list[SliceComparison]:
        """The few to show first."""
        return self.better[:_MAX_SLICES]


@dataclass(frozen=True, kw_only=True, slots=True)
class Highlights:
    """What is to be said first of a candidate.

    Attributes:
        candidate: The version.
        tiles: The main metrics on all rows.
        slices: By the metrics that the gate asks of slices, or the main one.
    """

    candidate: int
    tiles: Sequence[Comparison]
    slices: Sequence[SliceHighlights]


def highlights(content: ReportContent) -> list[Highlights]:
    """Returns what is to be said first of each candidate."""
    metrics = shown_metrics(content)
    return [_of_candidate(content, each, metrics) for each in content.results.candidates]


def _of_candidate(
    content: ReportContent, candidate: int, metrics: Sequence[tuple[str, str]]
) -> Highlights:
    found = list(comparisons(content, candidate, ALL_ROWS))
    of_slices = [_of_slices(content, candidate, *each) for each in metrics]
    return Highlights(
        candidate=candidate,
        tiles=first_metrics(found)[:_MAX_TILES],
        slices=[each for each in of_slices if each.ranked],
    )


def shown_metrics(content: ReportContent) -> list[tuple[str, str]]:
    """Returns metrics and sub-keys by which slices are shown."""
    asked = sliced_metrics(content.verdict)[:_MAX_METRICS]
    main = slice_metric(content)
    return asked or ([] if main is None else [(main, "")])


def _of_slices(
    content: ReportContent, candidate: int, metric: str, sub_key: str
) -> SliceHighlights:
    return SliceHighlights(
        overall=compared(content, candidate, metric, sub_key),
        ranked=ranked_slices(content, candidate, metric, sub_key),
    )

"""The chart of slices: the change of a metric on each, with its interval, the worst first."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipelines.report.chart import Chart, draw_chart
from pipelines.report.comparison import Comparison, Effect
from pipelines.report.number_format import (
    counted,
    decimals_of,
    format_change,
    format_interval,
    printable,
)
from pipelines.report.slice_ranking import MAX_SLICES, SliceComparison, with_effect
from pipelines.report.svg import BETTER, INK, MUTED, WORSE
from transforms.metrics.directions import Direction

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROW_HEIGHT = 31.0
_FRAME_HEIGHT = 78.0
_NAME_LENGTH = 34
_LOOKS = {
    Effect.BETTER: (BETTER, "^"),
    Effect.WORSE: (WORSE, "v"),
    Effect.CHANGED: (INK, "D"),
    Effect.UNCLEAR: (MUTED, "o"),
    Effect.NEITHER: (MUTED, "o"),
}
# An interval may reach so many times as far as the largest change, or as usual, then it is cut.
_REACH = 2.5


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceChart:
    """What a chart of slices is of.

    Attributes:
        candidate: The version.
        baseline: The version it is compared with.
        overall: The change on all rows.
        ranked: The slices, the worst first.
        allowed: The changes that the gate allows, lower and upper; NaN where it has no limit.
    """

    candidate: int
    baseline: int
    overall: Comparison
    ranked: Sequence[SliceComparison]
    allowed: tuple[float, float] = (math.nan, math.nan)

    @property
    def name(self) -> str:
        """Unique in a page."""
        words = (*self.overall.metric.split(), *self.overall.sub_key.split())
        plain = "-".join("".join(c if c.isalnum() else "-" for c in each) for each in words)
        return f"slices-{self.candidate}-{plain}"


def slice_chart(chart: SliceChart) -> Chart:
    """Returns the drawn chart; of many slices, of the worst."""
    shown = chart.ranked[:MAX_SLICES]
    metric = chart.overall.name

    def draw(axes: "Axes") -> None:
        _limits(axes, chart, [each.comparison for each in shown])
        _row(axes, 0, "all rows", None, chart.overall)
        for place, each in enumerate(shown, start=1):
            _row(axes, place, each.slice.name, each.slice.num_rows, each.comparison)
        axes.set_ylim(len(shown) + 0.5, -0.75)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.grid(visible=False)
        axes.set_xlabel(f"change of {metric}{_sides(chart.overall)}")

    return draw_chart(
        draw,
        name=chart.name,
        title=f"{metric} by slice, version {chart.candidate} less version {chart.baseline}",
        caption=_caption(chart, len(shown)),
        height=_ROW_HEIGHT * (len(shown) + 1) + _FRAME_HEIGHT,
    )


def _row(axes: "Axes", place: int, name: str, num_rows: int | None, comparison: Comparison) -> None:
    difference = comparison.difference
    if difference is None or math.isnan(difference.value):
        return
    color, marker = _LOOKS[comparison.effect]
    low, high = difference.interval(comparison.level)
    if low <= high:
        axes.plot([low, high], [place, place], color=color, linewidth=2.0, solid_capstyle="butt")
    axes.plot([difference.value], [place], color=color, marker=marker, markersize=6.5)
    decimals = decimals_of(difference, comparison.level)
    interval = format_interval(difference, comparison.level, decimals, signed=True)
    weight = "bold" if comparison.effect is Effect.WORSE else "normal"
    rows = "" if num_rows is None else f" · {counted(num_rows, 'row')}"
    for x, align, text, text_color in (
        (0.0, "left", f"{printable(name, _NAME_LENGTH)}{rows}", INK),
        (1.0, "right", f"{format_change(difference.value, decimals)} {interval}", MUTED),
    ):
        axes.text(
            x,
            place - 0.33,
            text,
            transform=axes.get_yaxis_transform(),
            ha=align,
            va="center",
            fontsize=10,
            color=text_color,
            fontweight=weight if align == "left" else "normal",
        )


def _limits(axes: "Axes", chart: SliceChart, shown: Sequence[Comparison]) -> None:
    found = [each.difference for each in (chart.overall, *shown) if each.difference is not None]
    values = [each.value for each in found if math.isfinite(each.value)]
    margins = [each for each in chart.allowed if math.isfinite(each)]
    ends = [end for each in found for end in each.interval(chart.overall.level)]
    ends = [end for end in ends if math.isfinite(end)]
    reach = _reach([*values, *margins], ends)
    cut = [max(-reach, min(reach, end)) for end in ends]
    everything = [0.0, *values, *margins, *cut]
    low, high = min(everything), max(everything)
    space = 0.04 * (high - low or 1.0)
    axes.set_xlim(low - space, high + space)
    # Beside the intervals alone: a whole line would cross the words.
    tops = np.arange(len(shown) + 1) - 0.1
    axes.vlines(np.zeros(tops.size), tops, tops + 0.42, color=MUTED, linewidth=1.0)
    for margin in margins:
        axes.vlines(
            np.full(tops.size, margin), tops, tops + 0.42, color=WORSE, linewidth=1.4, linestyle=":"
        )


def _reach(values: Sequence[float], ends: Sequence[float]) -> float:
    """Returns how far from 0 intervals are drawn: those of a few tiny slices need not fit."""
    largest = max(map(abs, values), default=0.0)
    usual = float(np.median(np.abs(ends))) if ends else 0.0
    return _REACH * max(largest, usual) or 1.0


def _sides(comparison: Comparison) -> str:
    direction = comparison.facts.direction
    if direction is Direction.HIGHER:
        return "  (worse ← → better)"
    return "  (better ← → worse)" if direction is Direction.LOWER else ""


def _caption(chart: SliceChart, num_shown: int) -> str:
    ranked = chart.ranked
    worse, better = (len(with_effect(ranked, each)) for each in (Effect.WORSE, Effect.BETTER))
    of_many = f"the {num_shown} worst of {len(ranked)}" if len(ranked) > num_shown else "all"
    margin = any(math.isfinite(each) for each in chart.allowed)
    said = " The dotted line is the limit of the gate." if margin else ""
    change = f"Clearly worse (▼) on {worse}, clearly better (▲) on {better}"
    if chart.overall.oriented_change() is None:
        change = f"Clearly changed (◆) on {len(with_effect(ranked, Effect.CHANGED))}"
    level = chart.overall.level
    return (
        f"Change of {chart.overall.name} on each slice with its {100 * level:g} % interval, "
        f"the clearest first; {of_many} slices are shown. {change} of {len(ranked)}."
        f"{by_chance(len(ranked), level)}{said}"
    )


def by_chance(num_slices: int, level: float) -> str:
    """Returns a sentence on how many of so many slices would seem to change if none did."""
    expected = round(num_slices * (1 - level))
    if not expected:
        return ""
    return f" Of {num_slices} slices, about {expected} would seem to change if none did."

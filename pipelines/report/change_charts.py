"""Charts of how candidates differ from the baseline: by how much on how many rows, and in which classes."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from pipelines.report.chart import WIDTH, Chart, draw_chart, plain_powers
from pipelines.report.content import ReportContent
from pipelines.report.number_format import format_change, printable
from pipelines.report.svg import BETTER, INK, WORSE, series_style
from transforms.metrics.array_types import Floats
from transforms.metrics.curves import DifferenceCurve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import Rectangle

_MAX_CLASSES = 20
_MAX_NAMED = 12
_NAME_LENGTH = 12
_FAINTEST = 1e-4


def change_charts(content: ReportContent) -> Iterator[Chart]:
    """Yields the charts that the task has."""
    chart = _differences(content)
    if chart is not None:
        yield chart
    for candidate in content.results.candidates:
        drawn = _confusion_change(content, candidate)
        if drawn is not None:
            yield drawn


def _differences(content: ReportContent) -> Chart | None:
    candidates = [
        (place, version, content.curves[version].differences)
        for place, version in enumerate(content.results.versions)
        if version in content.curves and content.curves[version].differences is not None
    ]
    shown = [(place, version, each) for place, version, each in candidates if each is not None]
    if not any(each.difference.size for *_, each in shown):
        return None

    def draw(axes: "Axes") -> None:
        for place, version, curve in shown:
            axes.step(
                np.maximum(curve.difference, _FAINTEST),
                curve.share_at_least,
                where="pre",
                label=f"version {version}",
                **series_style(place),
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        plain_powers(axes.xaxis)
        plain_powers(axes.yaxis)
        axes.set(xlabel="absolute difference at least", ylabel="share of rows")
        axes.legend(loc="lower left")

    said = " ".join(_share_said(version, curve) for _, version, curve in shown)
    return draw_chart(
        draw,
        name="differences",
        title="How much predictions differ",
        caption=f"Share of the rows whose prediction is at least so far from the baseline's; both axes are logarithmic. {said}",
    )


def _share_said(version: int, curve: DifferenceCurve) -> str:
    """Returns the median and the most, in a sentence."""
    if not curve.difference.size:
        return ""
    half = curve.difference[np.flatnonzero(curve.share_at_least >= 0.5)]
    median = float(half[-1]) if half.size else 0.0
    return f"Version {version}: half of the rows differ by {median:.3g} or more, the most by {curve.difference[-1]:.3g}."


def _confusion_change(content: ReportContent, candidate: int) -> Chart | None:
    pair = [
        content.curves[version].confusion
        for version in (content.results.baseline, candidate)
        if version in content.curves
    ]
    matrices = [each for each in pair if each is not None]
    if len(matrices) != 2 or not matrices[0].sum():
        return None
    change = matrices[1] - matrices[0]
    classes = _most_changed(change)
    names = [printable(content.class_name(int(each)), _NAME_LENGTH) for each in classes]
    shown = change[np.ix_(classes, classes)]

    def draw(axes: "Axes") -> None:
        _matrix(axes, shown, names)

    left_out = len(change) - len(classes)
    said = f" The {len(classes)} classes with the largest changes are shown." if left_out else ""
    return draw_chart(
        draw,
        name=f"confusion-{candidate}",
        title=f"Moved decisions, version {candidate}",
        caption=f"Rows of each label (down) by decision (across): how many more or fewer version {candidate} puts there than the baseline. More on the diagonal is better.{said}",
        height=WIDTH * 0.9,
    )


def _most_changed(change: Floats) -> Floats:
    """Returns the classes to show, ascending."""
    moved = np.abs(change).sum(axis=0) + np.abs(change).sum(axis=1)
    classes: Floats = np.sort(np.argsort(-moved, kind="stable")[:_MAX_CLASSES])
    return classes


def _matrix(axes: "Axes", change: Floats, names: list[str]) -> None:
    most = max(float(np.abs(change).max()), 1.0)
    is_right = np.eye(len(change), dtype=bool)
    for label, decision in np.argwhere(change):
        moved = change[label, decision]
        is_better = (moved > 0) == is_right[label, decision]
        axes.add_patch(_cell(label, decision, BETTER if is_better else WORSE, abs(moved) / most))
        if len(names) <= _MAX_NAMED:
            axes.text(
                decision,
                label,
                format_change(moved, 0),
                ha="center",
                va="center",
                fontsize=9,
                color=INK,
            )
    places = range(len(names))
    axes.set_xticks(places, names, rotation=90 if max(map(len, names)) > 3 else 0)
    axes.set_yticks(places, names)
    axes.set(xlim=(-0.5, len(names) - 0.5), ylim=(len(names) - 0.5, -0.5))
    axes.set(xlabel="decision", ylabel="label", aspect="equal")
    axes.grid(visible=False)


def _cell(label: int, decision: int, color: str, strength: float) -> "Rectangle":
    from matplotlib.patches import Rectangle

    corner = (decision - 0.47, label - 0.47)
    return Rectangle(corner, 0.94, 0.94, facecolor=color, alpha=0.12 + 0.6 * strength, linewidth=0)

"""Charts of the versions' scores: ROC, precision-recall, reliability, histograms."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pipelines.report.chart import HEIGHT, WIDTH, Chart, draw_chart, plain_powers
from pipelines.report.content import ReportContent
from pipelines.report.number_format import decimals_of, format_number
from pipelines.report.svg import INK, MUTED, series_color, series_marker, series_style
from transforms.metrics import Curves
from transforms.metrics.curves import NumberHistogram

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PANEL_HEIGHT = 105.0


def score_charts(content: ReportContent) -> Iterator[Chart]:
    """Yields the charts that the task has."""
    for chart in (_roc, _precision_recall, _reliability, _scores, _residuals):
        drawn = chart(content)
        if drawn is not None:
            yield drawn


def _roc(content: ReportContent) -> Chart | None:
    def line(curves: Curves) -> tuple[Any, Any] | None:
        roc = curves.roc
        return None if roc is None else (roc.false_positive_rate, roc.true_positive_rate)

    def draw(axes: "Axes") -> None:
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=":")
        _lines(axes, content, line)
        _unit_square(axes, "false positive rate", "true positive rate")

    if not _has(content, line):
        return None
    return draw_chart(
        draw,
        name="roc",
        title="ROC curve",
        caption=f"Share of positives found, by share of negatives wrongly decided positively; up and left is better. {_values(content, 'auc', 'AUC')}",
    )


def _precision_recall(content: ReportContent) -> Chart | None:
    def line(curves: Curves) -> tuple[Any, Any] | None:
        found = curves.precision_recall
        return None if found is None else (found.recall, found.precision)

    def draw(axes: "Axes") -> None:
        _lines(axes, content, line, steps="steps-pre")
        _unit_square(axes, "recall", "precision")

    if not _has(content, line):
        return None
    return draw_chart(
        draw,
        name="precision-recall",
        title="Precision and recall",
        caption=f"Share of positive decisions that are right, by share of positives found; up and right is better. {_values(content, 'average_precision', 'Average precision')}",
    )


def _has(content: ReportContent, line: Callable[[Curves], Any]) -> bool:
    return any(line(each) is not None for each in content.curves.values())


def _lines(
    axes: "Axes",
    content: ReportContent,
    line: Callable[[Curves], tuple[Any, Any] | None],
    *,
    steps: Literal["default", "steps-pre"] = "default",
) -> None:
    for place, version in enumerate(content.results.versions):
        found = line(content.curves[version]) if version in content.curves else None
        if found is not None:
            axes.plot(*found, label=f"version {version}", drawstyle=steps, **series_style(place))


def _unit_square(axes: "Axes", x_label: str, y_label: str) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel=x_label, ylabel=y_label)
    axes.legend(loc="best")


def _reliability(content: ReportContent) -> Chart | None:
    diagrams = {
        version: curves.reliability
        for version, curves in content.curves.items()
        if curves.reliability is not None and curves.reliability.weight.size
    }
    if not diagrams:
        return None

    def draw(axes: "Axes") -> None:
        highest = max(
            max(each.high.max(), each.mean_prediction.max()) for each in diagrams.values()
        )
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=":")
        for place, version in enumerate(content.results.versions):
            if version not in diagrams:
                continue
            found = diagrams[version]
            reach = np.stack([found.observed_rate - found.low, found.high - found.observed_rate])
            axes.errorbar(
                found.mean_prediction,
                found.observed_rate,
                yerr=np.maximum(reach, 0),
                label=f"version {version}",
                marker=series_marker(place),
                markersize=4.5,
                elinewidth=1.0,
                linewidth=0.9,
                color=series_color(place),
            )
        top = min(1.02, float(highest) * 1.05)
        axes.set(xlim=(0, top), ylim=(0, top), xlabel="mean prediction", ylabel="observed rate")
        axes.legend(loc="best")

    return draw_chart(
        draw,
        name="reliability",
        title="Reliability",
        caption=f"What happened where so much was predicted, in bins of about equally many rows, with 95 % intervals; on the dotted line predictions are right on average. {_values(content, 'expected_calibration_error', 'Expected calibration error')}",
    )


def _scores(content: ReportContent) -> Chart | None:
    histograms = {v: c.scores for v, c in content.curves.items() if c.scores is not None}
    is_labelled = any(len(each.counts) > 1 for each in histograms.values())
    said = "by label, on a logarithmic axis" if is_labelled else "on a logarithmic axis"
    return _panels(
        content,
        histograms,
        name="scores",
        title="Distribution of predictions",
        x_label="prediction",
        caption=f"How many rows got which prediction from each version, {said}. {_values(content, 'mean_prediction', 'Mean prediction')}",
    )


def _residuals(content: ReportContent) -> Chart | None:
    return _panels(
        content,
        {v: c.residuals for v, c in content.curves.items() if c.residuals is not None},
        name="residuals",
        title="Errors",
        x_label="prediction less label",
        caption=f"How many rows each version missed by how much, on a logarithmic axis; the outermost bars hold what lies beyond. {_values(content, 'bias', 'Bias')}",
    )


def _panels(
    content: ReportContent,
    histograms: Mapping[int, NumberHistogram],
    *,
    x_label: str,
    name: str,
    title: str,
    caption: str,
) -> Chart | None:
    """Returns a chart with a panel for each version, on common axes."""
    shown = [
        (place, version, histograms[version])
        for place, version in enumerate(content.results.versions)
        if version in histograms and histograms[version].counts.size
    ]
    if not shown:
        return None

    def draw(axes: "Axes") -> None:
        figure = axes.get_figure(root=True)
        assert figure is not None  # noqa: S101 - the chart's own
        axes.remove()
        panels = figure.subplots(len(shown), sharex=True, sharey=True, squeeze=False)[:, 0]
        for panel, (place, version, histogram) in zip(panels, shown, strict=True):
            _histogram(panel, histogram, place)
            panel.set_title(f"version {version}", loc="left", fontsize=10, color=INK)
        panels[0].set_yscale("log")
        panels[0].set_ylim(bottom=0.7)
        plain_powers(panels[0].yaxis)
        panels[-1].set_xlabel(x_label)
        figure.supylabel("rows", fontsize=11, color=MUTED)

    height = max(HEIGHT, _PANEL_HEIGHT * len(shown) + 40)
    return draw_chart(draw, name=name, title=title, caption=caption, width=WIDTH, height=height)


def _histogram(axes: "Axes", histogram: NumberHistogram, place: int) -> None:
    if len(histogram.counts) == 1:
        _bars(axes, histogram, 0, series_color(place), label=None)
        return
    _bars(axes, histogram, 0, MUTED, label="label 0")
    _bars(axes, histogram, 1, series_color(place) if place else INK, label="label 1")
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1.0, 0.98),  # above, beside the title
        borderaxespad=0.0,
        borderpad=0.2,
        ncols=2,
        fontsize=9,
        handlelength=1.2,
    )


def _bars(
    axes: "Axes", histogram: NumberHistogram, label_index: int, color: str, label: str | None
) -> None:
    axes.stairs(
        np.maximum(histogram.counts[label_index], 0.5),
        histogram.edges,
        baseline=0.5,
        fill=label_index == 0,
        alpha=0.45 if label_index == 0 else 1.0,
        color=color,
        linewidth=1.6,
        label=label,
    )


def _values(content: ReportContent, metric: str, words: str) -> str:
    """Returns a metric of all versions in a sentence, or nothing where it was not measured."""
    said = []
    for version in content.results.versions:
        found = content.results.find(metric, version)
        if found is not None:
            value = format_number(
                found.estimate.value, decimals_of(found.estimate, content.confidence_level)
            )
            said.append(f"{value} for version {version}")
    return f"{words}: {', '.join(said)}." if said else ""

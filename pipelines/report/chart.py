"""A chart of a report: its drawing, and what it says in words."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.report.svg import chart_style, new_chart, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

WIDTH = 380.0
HEIGHT = 280.0


_SMALL = 1e-3


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """A finished chart.

    Attributes:
        name: Unique in the page.
        title: What it is.
        caption: What it shows, in words.
        svg: The drawing, with a text alternative.
    """

    name: str
    title: str
    caption: str
    svg: str


def draw_chart(
    draw: "Callable[[Axes], None]",
    *,
    name: str,
    title: str,
    caption: str,
    width: float = WIDTH,
    height: float = HEIGHT,
) -> Chart:
    """Returns a chart that `draw` puts on empty axes."""
    with chart_style(name):
        figure, axes = new_chart(width, height)
        draw(axes)
        svg = to_svg(figure, name, title, caption)
    return Chart(name=name, title=title, caption=caption, svg=svg)


def plain_powers(axis: "Axis") -> None:
    """Labels a logarithmic axis with plain numbers, at powers of ten alone."""
    from matplotlib.ticker import FuncFormatter, NullLocator

    axis.set_major_formatter(FuncFormatter(lambda value, _: _plain(value)))
    axis.set_minor_locator(NullLocator())


def _plain(value: float) -> str:
    if value >= 1:
        return f"{value:,.0f}"
    return f"{value:g}" if value >= _SMALL else f"{value:.0e}".replace("e-0", "e\N{MINUS SIGN}")

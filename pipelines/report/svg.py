"""Charts as SVG to be set into a page: its fonts, its colours in light and dark, equal bytes always."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Matplotlib is given colours that stand for variables of the page's style sheet.
INK = "#010101"
MUTED = "#020202"
GRID = "#030303"
SURFACE = "#040404"
BETTER = "#050505"
WORSE = "#060606"
NUM_SERIES = 7
_SERIES = [f"#0101{i + 16:02x}" for i in range(NUM_SERIES)]
_VARIABLES = {
    INK: "ink",
    MUTED: "muted",
    GRID: "grid",
    SURFACE: "surface",
    BETTER: "better",
    WORSE: "worse",
    **{each: f"series-{i}" for i, each in enumerate(_SERIES)},
}
_DASHES: tuple[Any, ...] = ("-", "-", (0, (6, 2)), (0, (2, 1.5)), (0, (7, 2, 1.5, 2)))
_MARKERS = "osD^vPX"

_POINTS_PER_INCH = 72  # an SVG's own unit
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 11.0,
    "font.family": "sans-serif",
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.facecolor": "none",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "figure.facecolor": "none",
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 10.0,
    "ytick.labelsize": 10.0,
    "xtick.major.size": 0.0,
    "ytick.major.size": 0.0,
    "xtick.minor.size": 0.0,
    "ytick.minor.size": 0.0,
    "legend.frameon": False,
    "legend.fontsize": 10.0,
    "legend.handlelength": 2.2,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
}


def series_color(index: int) -> str:
    """Returns the colour of a version, by its place; the baseline is 0."""
    return _SERIES[index % NUM_SERIES]


def series_style(index: int) -> dict[str, Any]:
    """Returns how a version's line is drawn; colour is not all that tells versions apart."""
    return {"color": series_color(index), "linestyle": _DASHES[index % len(_DASHES)]}


def series_marker(index: int) -> str:
    """Returns the marker of a version's points."""
    return _MARKERS[index % len(_MARKERS)]


@contextmanager
def chart_style(salt: str) -> Iterator[None]:
    """Makes charts look alike; `salt` makes names inside one chart unlike those of others."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()  # whatever a user's matplotlibrc says
        mpl.rcParams.update(_STYLE)
        mpl.rcParams["svg.hashsalt"] = salt
        yield


def new_chart(width: float, height: float) -> "tuple[Figure, Axes]":
    """Returns an empty chart of a size in the page's pixels."""
    from matplotlib.figure import Figure

    size = (width / _POINTS_PER_INCH, height / _POINTS_PER_INCH)
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots()


def to_svg(figure: "Figure", name: str, title: str, description: str) -> str:
    """Returns an `svg` element for a page, with a text alternative and without remote references.

    Args:
        figure: The chart; it can be drawn once.
        name: Of the chart, unique in the page.
        title: What it is.
        description: What it shows, for those who do not see it.
    """
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    sink = io.StringIO()
    canvas: Any = FigureCanvasSVG(figure)  # untyped in parts
    canvas.print_svg(sink, metadata={"Date": None, "Creator": None})
    drawing = sink.getvalue()
    view_box = re.search(r'viewBox="([^"]+)"', drawing)
    body = drawing[drawing.index(">", drawing.index("<svg")) + 1 : drawing.rindex("</svg>")]
    body = _mended(_without_metadata(body))
    return (
        f'<svg role="img" aria-labelledby="{name}-title {name}-desc"'
        f' viewBox="{view_box[1] if view_box else ""}">'
        f'<title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-desc">{escape(description)}</desc>{body}</svg>'
    )


def _without_metadata(body: str) -> str:
    body = re.sub(
        r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", body, flags=re.DOTALL
    )
    return re.sub(r"\s*\n\s*", "\n", body)


def _mended(body: str) -> str:
    """Returns the elements fit for a page; text between them stays as it is."""
    used = set(re.findall(r"#([\w.-]+)", body))
    return re.sub(r"<[^>]*>", lambda tag: _mended_tag(tag[0], used), body)


def _mended_tag(tag: str, used: set[str]) -> str:
    """Returns a tag with variables for colours, and without ids that nothing refers to."""
    for color, name in _VARIABLES.items():
        tag = tag.replace(color, f"var(--{name})")
    tag = re.sub(r' id="([^"]+)"', lambda found: found[0] if found[1] in used else "", tag)
    tag = re.sub(r"(\d\.\d\d)\d+", r"\1", tag)  # a hundredth of a pixel is enough
    # The page's own font, whatever matplotlib measured with.
    tag = re.sub(r'font-family: [^;"]*', "font-family: var(--font)", tag)
    return tag.replace("xlink:href", "href")

import re

import pytest

from pipelines.report.chart import draw_chart
from pipelines.report.svg import INK, NUM_SERIES, series_color

_HOSTILE = '<b onclick="x">&$x$ 0.123456 #010101'


def _chart(name="one", text=_HOSTILE):
    def draw(axes):
        axes.plot([0, 1], [0.123456789, 1], color=series_color(1), label=text)
        axes.fill_between([0, 1], [1, 1], color=INK, alpha=0.3)
        axes.legend()

    return draw_chart(draw, name=name, title=f"t {text}", caption=f"c {text}")


def test_text_stays_as_it_is_and_is_escaped():
    svg = _chart().svg
    texts = re.findall(r"<(?:text|title|desc)[^>]*>([^<]*)<", svg)
    shown = '&lt;b onclick="x"&gt;&amp;$x$ 0.123456 #010101'
    assert shown in texts
    assert sum("0.123456 #010101" in each for each in texts) == 3


def test_colours_are_variables_of_the_page():
    svg = _chart(text="plain").svg
    assert "var(--series-1)" in svg
    assert "var(--ink)" in svg
    assert re.findall(r"#[0-9a-f]{6}\b", svg) == []


def test_names_of_different_charts_differ():
    names = [set(re.findall(r' id="([^"]+)"', _chart(name).svg)) for name in ("one", "two")]
    assert names[0]
    assert not names[0] & names[1]


def test_a_users_matplotlibrc_changes_nothing(monkeypatch):
    import matplotlib as mpl

    before = _chart().svg
    with mpl.rc_context({"lines.linewidth": 9.0, "font.size": 30.0, "axes.grid.axis": "x"}):
        assert _chart().svg == before
        assert mpl.rcParams["lines.linewidth"] == 9.0


@pytest.mark.parametrize("place", [0, NUM_SERIES, 25])
def test_any_number_of_versions_has_colours(place):
    assert series_color(place) == series_color(place % NUM_SERIES)

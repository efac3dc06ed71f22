"""The page in Chromium: it fits wide and narrow windows, in light and dark."""

import html
import json
import re
import shutil
import subprocess

import pytest

from pipelines.report.html import render_html
from tests.pipelines.report import contents

_CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
# A copy of the page measures itself; the page has no scripts.
_MEASURE = """<script>
const root = document.documentElement;
const outside = [...document.querySelectorAll('main *')].filter(each =>
    !each.closest('.scroll, nav, svg, .skip') && each.getBoundingClientRect().right > innerWidth + 1);
parent.postMessage(JSON.stringify({
    width: innerWidth, scrollWidth: root.scrollWidth, outside: outside.map(each => each.outerHTML.slice(0, 80)),
    page: getComputedStyle(document.body).backgroundColor, text: getComputedStyle(document.body).color,
    chart: getComputedStyle(document.querySelector('figure svg text')).fill,
}), '*');
</script>"""
# A browser's window is not as narrow as a telephone's; a frame may be.
_WIDTHS = (1280, 390)
_FRAMES = """<!doctype html><meta name="color-scheme" content="light dark"><title>nothing</title>
<script>
const found = [];
addEventListener('message', each => {
    found.push(JSON.parse(each.data));
    document.title = 'measured ' + JSON.stringify(found);
});
</script>""" + "".join(
    f'<iframe src="report.html" style="border: 0; width: {width}px; height: 900px"></iframe>'
    for width in _WIDTHS
)
_SCHEMES = {"dark": 0, "light": 1}

pytestmark = pytest.mark.skipif(_CHROMIUM is None, reason="no Chromium is installed")


@pytest.fixture(params=["binary", "multiclass", "long names"])
def measured_page(request, page, tmp_path):
    """A file with a page that measures itself."""
    path = tmp_path / "report.html"
    makers = {
        "multiclass": contents.multiclass_content,
        "long names": contents.long_names_content,
    }
    text = render_html(makers[request.param]()) if request.param in makers else page
    path.write_text(text.replace("</body>", f"{_MEASURE}</body>"))
    return path


def _measure(path, scheme):
    """Returns what the page is like in windows of both widths."""
    flags = [
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *("--hide-scrollbars", "--window-size=1400,900", "--virtual-time-budget=5000"),
        *("--dump-dom", f"--user-data-dir={path.parent / 'profile'}"),
        f"--blink-settings=preferredColorScheme={_SCHEMES[scheme]}",
    ]
    frames = path.parent / "frames.html"
    frames.write_text(_FRAMES)
    command = [_CHROMIUM, *flags, frames.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search(r"<title>measured (.*?)</title>", done.stdout)
    return json.loads(html.unescape(found[1]))


def _brightness(color):
    return sum(map(int, re.findall(r"\d+", color)[:3])) / 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_and_is_legible(measured_page, scheme):
    measured = _measure(measured_page, scheme)
    assert sorted(each["width"] for each in measured) == sorted(_WIDTHS)
    for found in measured:
        assert found["scrollWidth"] <= found["width"]
        assert found["outside"] == []
        is_light = _brightness(found["page"]) > 200
        assert is_light == (scheme == "light")
        for text in ("text", "chart"):
            assert abs(_brightness(found[text]) - _brightness(found["page"])) > 90

"""The page stands alone, is safe, is read by everybody, and says the verdict first."""

import re
from dataclasses import replace

import pytest

from pipelines.report.html import render_html
from tests.pipelines.report import contents
from tests.pipelines.report.page_parser import Page

_MAX_BYTES = 2_000_000


def _check_stands_alone(text):
    page = Page(text)
    assert not page.all("script")
    assert not page.all("link")
    assert not page.all("img")
    for element in page.elements:
        for name, value in element["attrs"].items():
            assert not name.startswith("on"), f"{element['tag']} runs {value}"
            if name in {"href", "src", "srcset", "data", "action", "xlink:href"}:
                assert value.startswith("#"), value
    assert re.findall(r"url\((?!['\"]?#)|@import|https?:|//\w", text) == []


def test_it_refers_to_nothing_outside_and_runs_nothing(page):
    _check_stands_alone(page)


def test_pages_of_other_tasks_refer_to_nothing_outside(other):
    _check_stands_alone(render_html(other))


def test_references_within_the_page_lead_to_one_element(page):
    parsed = Page(page)
    ids = [each["attrs"]["id"] for each in parsed.elements if "id" in each["attrs"]]
    assert len(ids) == len(set(ids))
    links = [each["attrs"]["href"] for each in parsed.elements if "href" in each["attrs"]]
    clips = re.findall(r"url\(#([^)]+)\)", page)
    assert {each.removeprefix("#") for each in links} | set(clips) <= set(ids)


def test_text_from_the_data_is_text(page):
    parsed = Page(page)
    assert contents.HOSTILE in parsed.text
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_every_figure_has_a_text_alternative(page):
    parsed = Page(page)
    figures = parsed.all("figure")
    assert len(figures) >= 6
    for figure in figures:
        (svg,) = parsed.descendants(figure, "svg")
        assert svg["attrs"]["role"] == "img"
        title, desc = (parsed.descendants(svg, each)[0] for each in ("title", "desc"))
        assert svg["attrs"]["aria-labelledby"].split() == [
            title["attrs"]["id"],
            desc["attrs"]["id"],
        ]
        assert title["text"]
        assert len(desc["text"]) > 40
        assert parsed.descendants(figure, "figcaption")[0]["text"].strip()


def test_every_table_has_a_caption_and_scopes(page):
    parsed = Page(page)
    for table in parsed.all("table"):
        assert parsed.descendants(table, "caption")[0]["text"].strip()
        heads = parsed.descendants(table, "th")
        assert heads
        assert all("scope" in each["attrs"] for each in heads)


def test_the_verdict_comes_first_and_the_worst_first_of_all(page):
    parsed = Page(page)
    verdicts = [each for each in parsed.all("article") if "verdict" in each["attrs"]["class"]]
    assert ["FAIL" in each["text"] for each in verdicts] == [True, False]
    assert "Version 3 must not be promoted in place of version 1" in verdicts[0]["text"]
    assert "at most +0.05 is allowed" in verdicts[0]["text"]
    assert page.index("must not be promoted") < page.index("What changed, and for whom")


def test_rules_are_listed_the_gravest_first(page):
    words = re.findall(r'<span class="status (\w+)">', page)
    assert words == ["fail", "warn", "pass", "pass"]


def test_without_a_gate_it_says_so():
    text = render_html(contents.binary_content((1, 2), num_rows=500))
    assert "no gate was configured" in text
    assert 'id="rules"' not in text


def test_one_version_alone_has_no_changes():
    text = render_html(contents.single_content())
    assert "There is no candidate" in text
    assert 'id="changes"' not in text


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (contents.multiclass_content, {"confusion-9", "differences"}),
        (contents.regression_content, {"scores", "residuals", "differences"}),
        (contents.unlabelled_content, {"scores", "differences"}),
    ],
)
def test_each_task_has_its_figures(make, names):
    found = set(re.findall(r'id="figure-([\w-]+)"', render_html(make())))
    assert {each for each in found if not each.startswith("slices-")} == names
    assert any(each.startswith("slices-") for each in found)


def test_binary_tasks_have_all_their_figures(page):
    found = set(re.findall(r'id="figure-([\w-]+)"', page))
    assert found == {
        *("roc", "precision-recall", "reliability", "scores", "differences"),
        *("slices-2-log-loss", "slices-3-log-loss"),
    }


def test_classes_have_their_confusion_matrices_and_metrics():
    content = replace(contents.multiclass_content(), class_names=("a", "b", "<i>c</i>", "d", "e"))
    parsed = Page(render_html(content))
    captions = [each["text"].strip() for each in parsed.all("caption")]
    assert captions.count("Rows of each label (down) by decision (across)") == 2
    assert "Metrics of one class against the rest" in captions
    tables = [each for each in parsed.all("table") if "Rows of each label" in each["text"]]
    for table, version in zip(tables, (7, 9), strict=True):
        cells = [each["text"] for each in parsed.descendants(table, "td")]
        assert sum(int(each.replace(",", "")) for each in cells) == 3000
        expected = content.curves[version].confusion.ravel()
        assert [int(each.replace(",", "")) for each in cells] == expected.tolist()
        assert "<i>c</i>" in table["text"]


def test_equal_content_gives_equal_bytes(binary, page):
    assert render_html(binary) == page


def test_small_slices_are_listed_and_not_scored(page):
    parsed = Page(page)
    chips = [each for each in parsed.all("ul") if each["attrs"].get("class") == "chips"]
    assert "country=LU" in chips[0]["text"]
    assert "12 rows" in chips[0]["text"]
    assert page.count("country=LU") == 1


def test_a_page_of_thousands_of_slices_and_rules_stays_small():
    text = render_html(contents.large_content())
    assert len(text.encode()) < _MAX_BYTES
    assert text.count("more checks in verdict.json") == 3

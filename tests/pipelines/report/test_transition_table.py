"""Changes of class, as a reader sees them."""

from dataclasses import replace

import numpy as np
import pytest

from pipelines.report.html import render_html
from pipelines.report.number_format import NOT_DEFINED
from pipelines.report.transition_table import transition_lines
from tests.pipelines.report import contents
from tests.pipelines.report.page_parser import Page
from transforms.metrics import Task, Transition

_NAMES = ("cat", "dog", contents.HOSTILE, "eel", "fox")


@pytest.fixture(scope="module", name="content")
def _content():
    return replace(contents.multiclass_content(), class_names=_NAMES)


def test_the_most_frequent_change_comes_first_by_names(content):
    lines = transition_lines(content, 9)
    first = content.transitions[9][0]
    assert (lines[0].before, lines[0].after) == (_NAMES[first.before], _NAMES[first.after])
    assert lines[0].rows == f"{first.weight:g}"
    assert int(lines[0].won) + int(lines[0].lost) <= first.weight
    assert len(lines) == 20  # of 5 classes there are no more


def test_the_page_has_a_table_of_them(content):
    page = render_html(content)
    tables = [
        each for each in Page(page).all("table") if "The most frequent changes" in each["text"]
    ]
    assert len(tables) == 1
    assert "cat" in tables[0]["text"]
    assert contents.HOSTILE not in page


def test_without_labels_none_is_right(content):
    scores = [[[0.6, 0.4], [0.3, 0.7]], [[0.2, 0.8], [0.1, 0.9]]]
    unlabelled = contents.content_of(
        Task.MULTICLASS, np.array(scores), None, {}, (7, 9), num_classes=2
    )
    (line,) = transition_lines(unlabelled, 9)
    assert (line.before, line.after, line.rows, line.won, line.lost) == (
        "0",
        "1",
        "1",
        *2 * (NOT_DEFINED,),
    )


def test_few_of_many_are_shown(content):
    many = [Transition(before=0, after=1, weight=3, won=1, lost=1)] * 30
    assert len(transition_lines(replace(content, transitions={9: many}), 9)) == 20


def test_other_tasks_have_none():
    content = contents.binary_content((1, 2), num_rows=500)
    assert transition_lines(content, 2) == []
    assert "The most frequent changes" not in render_html(content)

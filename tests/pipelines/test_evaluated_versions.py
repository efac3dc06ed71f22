"""Which versions an evaluation compares."""

import pytest

from pipelines.evaluated_versions import compared_versions
from servable_core.errors import InvalidArgumentError
from transforms.evaluation.evaluation_config import EvaluationConfig

LABELS = {"stable": 6, "canary": 7}


def _compared(*candidates, baseline=None, labels=None):
    config = EvaluationConfig(baseline=baseline, candidates=candidates)
    return compared_versions(config, "ranker", labels)


@pytest.mark.parametrize(
    ("versions", "found", "expected"),
    [
        (_compared(), (7, 3, 5), (3, 5, 7)),  # the lowest is the baseline
        (_compared("5", "3"), (3, 5), (3, 5)),
        (_compared("3", baseline="5"), (3, 5), (5, 3)),
        (_compared("9", "7", baseline="8"), (7, 8, 9), (8, 9, 7)),  # candidates as named
        (_compared(baseline="5"), (3, 5, 7), (5, 3, 7)),
        (_compared(), (3,), (3,)),
    ],
)
def test_the_baseline_comes_first(versions, found, expected):
    assert versions.in_order(found) == expected


def test_labels_stand_for_versions():
    versions = _compared("canary", baseline="stable", labels=LABELS)
    assert (versions.baseline, versions.candidates) == (6, (7,))


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (None, "--baseline=best is no version number; labels need --model_config_file"),
        (LABELS, "has no version label 'best'; its labels: 'canary', 'stable'"),
    ],
)
def test_an_unknown_label_is_told(labels, words):
    with pytest.raises(InvalidArgumentError, match=words):
        _compared("7", baseline="best", labels=labels)


def test_a_label_of_the_baseline_is_no_candidate():
    with pytest.raises(InvalidArgumentError, match=r"version 6 is asked for twice.*--aa"):
        _compared("6", baseline="stable", labels=LABELS)

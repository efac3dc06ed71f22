"""Changes of class: how many, from which to which, and which of them are for the better."""

from collections import Counter

import numpy as np
import pytest

from tests.transforms.metrics.evaluated import Values, batch_of, evaluation_of, parquet_bytes
from transforms.metrics import Task
from transforms.metrics.transitions import TRANSITIONS, Transition, transitions

_CLASSES, _ROWS = 4, 600


def _scores(decisions):
    return np.eye(_CLASSES)[decisions] * 0.7 + 0.3 / _CLASSES


@pytest.fixture(scope="module", name="decisions")
def _decisions():
    rng = np.random.default_rng(0)
    before = rng.integers(0, _CLASSES, _ROWS)
    others = [
        np.where(rng.random(_ROWS) < share, rng.integers(0, _CLASSES, _ROWS), before)
        for share in (0.1, 0.5)
    ]
    return np.stack([before, *others])


@pytest.fixture(scope="module", name="labels")
def _labels():
    return np.random.default_rng(1).integers(0, _CLASSES, _ROWS)


def _evaluation(**options):
    return evaluation_of(Task.MULTICLASS, 3, num_classes=_CLASSES, **options)


def _expected(decisions, labels, version):
    """Returns the changes of a version, counted one row at a time."""
    rows, won, lost = Counter(), Counter(), Counter()
    for before, after, label in zip(decisions[0], decisions[version], labels, strict=True):
        if before != after:
            pair = (int(before), int(after))
            rows[pair] += 1
            won[pair] += label == after
            lost[pair] += label == before
    return {
        Transition(before=b, after=a, weight=number, won=int(won[b, a]), lost=int(lost[b, a]))
        for (b, a), number in rows.items()
    }


@pytest.mark.parametrize("version", [1, 2])
def test_each_change_is_counted(decisions, labels, version):
    states = _evaluation().update(batch_of(_scores(decisions), labels))
    found = transitions(states, 0, version)
    assert set(found) == _expected(decisions, labels, version)
    assert len(found) == len(set(found))
    assert [each.weight for each in found] == sorted((each.weight for each in found), reverse=True)
    assert sum(each.weight for each in found) == (decisions[version] != decisions[0]).sum()


def test_the_most_frequent_are_metrics_of_all_rows(decisions, labels):
    evaluation = _evaluation()
    states = evaluation.update(batch_of(_scores(decisions), labels))
    found = Values(evaluation, states)
    first = transitions(states, 0, 2)[0]
    sub_key = f"before={first.before},after={first.after}"
    assert found.change("transition", 2, sub_key) == first.weight


def test_of_many_changes_few_are_metrics():
    rng = np.random.default_rng(0)
    decisions = rng.integers(0, 40, (2, 5000))
    evaluation = evaluation_of(Task.MULTICLASS, 2, num_classes=40, is_labelled=False)
    states = evaluation.update(batch_of(np.eye(40)[decisions]))
    found = [each for each in evaluation.finalise(states, 0) if each.metric == "transition"]
    assert len(transitions(states, 0, 1)) > 1000
    assert sorted((each.estimate.value for each in found), reverse=True) == [
        each.weight for each in transitions(states, 0, 1)[:20]
    ]


def test_weights_count(decisions, labels):
    weights = np.random.default_rng(3).uniform(0.5, 2, _ROWS)
    evaluation = _evaluation(is_weighted=True)
    states = evaluation.update(batch_of(_scores(decisions), labels, weights=weights))
    first = transitions(states, 0, 2)[0]
    is_such = (decisions[0] == first.before) & (decisions[2] == first.after)
    assert first.weight == pytest.approx(weights[is_such].sum(), rel=1e-12)
    assert first.won == pytest.approx(weights[is_such & (labels == first.after)].sum(), rel=1e-12)
    assert first.lost == pytest.approx(weights[is_such & (labels == first.before)].sum(), rel=1e-12)


def test_slices_have_their_own(decisions, labels):
    slices = np.random.default_rng(4).integers(1, 4, (_ROWS, 1))
    states = _evaluation().update(batch_of(_scores(decisions), labels, slices=slices))
    for slice_id in (1, 2, 3):
        rows = slices[:, 0] == slice_id
        found = transitions(states, slice_id, 1)
        assert set(found) == _expected(decisions[:, rows], labels[rows], 1)


def test_without_labels_no_change_is_for_the_better(decisions):
    states = _evaluation(is_labelled=False).update(batch_of(_scores(decisions)))
    found = transitions(states, 0, 1)
    assert found
    assert {(each.won, each.lost) for each in found} == {(0, 0)}


def test_any_partition_gives_the_same_bytes(decisions, labels):
    evaluation = _evaluation()
    parts = [
        evaluation.update(batch_of(_scores(decisions[:, rows]), labels[rows], keys=rows))
        for rows in np.array_split(np.random.default_rng(2).permutation(_ROWS), 5)
    ]
    whole = evaluation.update(batch_of(_scores(decisions), labels))
    merged = evaluation.merge(iter(parts))
    assert parquet_bytes(merged[TRANSITIONS].to_table()) == parquet_bytes(
        whole[TRANSITIONS].to_table()
    )


def test_equal_versions_change_nothing(decisions, labels):
    same = np.stack([decisions[0]] * 3)
    states = _evaluation().update(batch_of(_scores(same), labels))
    assert transitions(states, 0, 1) == transitions(states, 0, 2) == []


def test_other_tasks_have_no_classes():
    evaluation = evaluation_of(Task.BINARY)
    assert transitions(evaluation.create(), 0, 1) == []


def test_of_very_many_classes_none_is_counted():
    scores = np.random.default_rng(0).random((2, 8, 1025))
    evaluation = evaluation_of(Task.MULTICLASS, 2, num_classes=1025, is_labelled=False)
    assert transitions(evaluation.update(batch_of(scores)), 0, 1) == []

"""The sums that rows add to, against those of numpy."""

import numpy as np
import pytest

from servable_core.errors import InvalidArgumentError
from tests.transforms.metrics.evaluated import Values, batch_of, evaluation_of, two_models
from transforms.metrics.row_metric import RowMetric

_ROWS = 500


def _states():
    labels, scores = two_models(np.random.default_rng(0), _ROWS)
    scores[1, ::7] = scores[0, ::7]
    evaluation = evaluation_of()
    return evaluation.update(batch_of(scores, labels)), labels, scores.astype(np.float64)


def _means():
    states, labels, scores = _states()
    sums = states["means"]
    total = sums.dense(0).sum(axis=0)
    return dict(zip(sums.names, total, strict=True)), labels, scores


def test_sums_that_are_known_from_others_are_there_too():
    sums, labels, scores = _means()
    is_equal = (scores == scores[0]).astype(np.float64)
    for version in range(2):
        assert sums[f"label/wx/{version}"] == labels.sum()
        for kind in ("wx", "wwxx"):
            assert sums[f"equal_to_baseline/{kind}/{version}"] == is_equal[version].sum()
    assert sums["equal_to_baseline/wwdd/1"] == _ROWS - is_equal[1].sum()


def test_squares_are_those_of_the_values():
    sums, labels, scores = _means()
    errors = np.square(scores - labels)
    for version in range(2):
        assert sums[f"brier/wx/{version}"] == pytest.approx(errors[version].sum(), abs=1e-10)
        squares = np.square(errors[version]).sum()
        assert sums[f"brier/wwxx/{version}"] == pytest.approx(squares, abs=1e-10)
    change = np.square(errors[1] - errors[0]).sum()
    assert sums["brier/wwdd/1"] == pytest.approx(change, abs=1e-10)


def test_bins_of_scores_have_their_rows_labels_and_scores():
    states, labels, scores = _states()
    held = states["calibration"].dense(0).sum(axis=0)  # [versions, bins, sums]
    for version, of_version in enumerate(scores):
        bins = np.minimum((of_version * held.shape[1]).astype(int), held.shape[1] - 1)
        expected = [
            np.bincount(bins, each, minlength=held.shape[1])
            for each in (np.ones(_ROWS), labels, of_version)
        ]
        assert held[version] == pytest.approx(np.stack(expected, axis=1), abs=1e-10)


def test_states_of_some_names_are_added_to_those_alone():
    evaluation = evaluation_of()
    labels, scores = two_models(np.random.default_rng(1), _ROWS)
    states = evaluation.update(batch_of(scores, labels))
    found = evaluation.add(states, {"rows": states["rows"]})
    assert found["rows"].counts.sum() == 2 * states["rows"].counts.sum()
    assert all(found[name] is states[name] for name in states if name != "rows")


def _is_high(batch):
    return (batch.predictions > 0.5).astype(np.float64)


def _hundredth(batch):
    return batch.predictions.astype(np.float64) / 100


@pytest.mark.parametrize("is_reversed", [False, True])
def test_a_mean_is_its_own_whatever_its_name_has_in_common_with_a_share(is_reversed):
    labels, scores = two_models(np.random.default_rng(0), _ROWS)
    share = RowMetric("hit", _is_high, is_share=True)
    metrics = (share, RowMetric("hit/loss", _hundredth))
    evaluation = evaluation_of(row_metrics=metrics[::-1] if is_reversed else metrics)
    found = Values(evaluation, evaluation.update(batch_of(scores, labels)))
    for version in range(2):
        assert found.value("hit", version) == (scores[version] > 0.5).mean()
        mean = scores[version].astype(np.float64).mean() / 100
        assert found.value("hit/loss", version) == pytest.approx(mean, abs=1e-12)


def test_a_share_that_is_none_is_refused():
    labels, scores = two_models(np.random.default_rng(0), _ROWS)
    evaluation = evaluation_of(row_metrics=(RowMetric("mine", _hundredth, is_share=True),))
    with pytest.raises(InvalidArgumentError, match="'mine' is a share"):
        evaluation.update(batch_of(scores, labels))


def test_a_share_may_be_undefined():
    labels, scores = two_models(np.random.default_rng(0), _ROWS)
    values = np.where(scores < 0.2, np.nan, scores > 0.5)
    metric = RowMetric("mine", lambda batch: values, is_share=True)
    evaluation = evaluation_of(row_metrics=(metric,))
    found = Values(evaluation, evaluation.update(batch_of(scores, labels)))
    is_defined = (scores >= 0.2).all(axis=0)
    assert found.value("mine", 1) == (scores[1, is_defined] > 0.5).mean()
    assert found.value("undefined_rows", 0, "metric=mine") == _ROWS - is_defined.sum()

"""Many slices that are finalised at once have the metrics that each of them has alone."""

import math
from dataclasses import fields

import numpy as np
import pytest

from tests.transforms.metrics.evaluated import batch_of, evaluation_of, two_models
from transforms.metrics import (
    Estimate,
    MetricValue,
    Task,
    class_matrix,
    decisions,
    row_means,
    slice_distributions,
)
from transforms.metrics import calibration_bins as bins
from transforms.metrics.quantile import Cumulative
from transforms.metrics.slice_distributions import SliceDistributions

_ROWS = 3000


def _rows(task, rng):
    if task is Task.BINARY:
        labels, scores = two_models(rng, _ROWS)
        scores[:, ::3] = scores[:, ::3].round(2)
        labels[:10] = 1  # some slices have one class alone
        return labels, scores, {"thresholds": (0.3, 0.5)}
    if task is Task.MULTICLASS:
        labels = rng.integers(0, 3, _ROWS).astype(float)
        return labels, rng.dirichlet([1, 1, 1], size=(2, _ROWS)), {"num_classes": 3}
    labels = rng.normal(size=_ROWS) * 100
    return labels, labels + rng.normal(size=(2, _ROWS)), {}


def _slices(rng):
    """Returns slices of sizes from one row to thousands; there are none from 15 to 20."""
    slices = np.minimum(rng.geometric(0.25, (_ROWS, 2)), 14) + np.array([0, 20])
    slices[0, 0], slices[1:40, 0], slices[:10, 1] = 50, 51, 60
    return slices


def _evaluated(task, *, is_weighted=False, **options):
    rng = np.random.default_rng(0)
    labels, predictions, more = _rows(task, rng)
    weights = rng.integers(0, 9, _ROWS) / 8 if is_weighted else None
    evaluation = evaluation_of(task, is_weighted=is_weighted, **more, **options)
    states = evaluation.update(batch_of(predictions, labels, weights, _slices(rng)))
    return evaluation, evaluation.merge([states])


def _together(evaluation, states, slice_ids):
    columns = evaluation.finalise_slices(states, np.array(slice_ids))
    return _by_name(value for column in columns for value in column.values())


def _by_name(values):
    found = {}
    for each in values:
        name = (each.slice_id, each.metric, each.sub_key, each.version, each.is_difference)
        assert name not in found, "a metric is given twice"
        found[name] = each.estimate
    return found


def _assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, estimate in expected.items():
        assert found[name].method is estimate.method, name
        for each in fields(Estimate):
            if each.name != "method":
                pair = getattr(found[name], each.name), getattr(estimate, each.name)
                assert pair[0] == pytest.approx(pair[1], rel=1e-11, abs=1e-12, nan_ok=True), name


@pytest.mark.parametrize("task", list(Task))
@pytest.mark.parametrize("options", [{}, {"is_weighted": True}, {"is_clustered": True}])
@pytest.mark.parametrize("max_distinct", [40, 4096])  # of which the first bins all but few slices
def test_slices_together_are_what_each_is_alone(task, options, max_distinct):
    evaluation, states = _evaluated(task, max_distinct=max_distinct, **options)
    slice_ids = [*evaluation.slices(states), 99]  # the last has no rows

    found = _together(evaluation, states, slice_ids)

    alone = (each for slice_id in slice_ids for each in evaluation.finalise(states, slice_id))
    _assert_same(found, _by_name(alone))


@pytest.mark.parametrize("task", list(Task))
def test_how_many_slices_are_looked_at_together_does_not_matter(task, monkeypatch):
    evaluation, states = _evaluated(task)
    slice_ids = evaluation.slices(states)
    expected = _together(evaluation, states, slice_ids)
    for module in (decisions, row_means, bins):
        monkeypatch.setattr(module, "_MAX_SLICES", 3)
    monkeypatch.setattr(class_matrix, "_MAX_CELLS", 1)
    monkeypatch.setattr(slice_distributions, "_MAX_NUMBERS", 1000)
    monkeypatch.setattr(slice_distributions, "_MAX_DENSE", 1)

    found = _together(evaluation, states, slice_ids)

    _assert_same(found, expected)


class _LastSlice:
    """A family of one's own, which is asked slice by slice."""

    def create(self):
        return {}

    def update(self, batch):
        return {}

    def finalise(self, states, slice_id):
        if slice_id == 60:
            yield MetricValue(
                metric="mine", slice_id=60, version=1, estimate=Estimate(value=7.0, lower_bound=6.0)
            )


def test_a_family_of_your_own_is_asked_for_each_slice():
    evaluation, states = _evaluated(Task.BINARY, families=(_LastSlice(),))

    found = _together(evaluation, states, evaluation.slices(states))

    assert found[60, "mine", "", 1, False] == Estimate(value=7.0, lower_bound=6.0)
    assert [name for name in found if name[1] == "mine"] == [(60, "mine", "", 1, False)]


def _quantile_without(numbers, block, share):
    """Returns a quantile of rows by their blocks, without one of these, by definition."""
    values, blocks = numbers
    left = np.sort(values[blocks != block])
    return left[math.ceil(share * left.size) - 1] if left.size else math.nan


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_quantiles_without_a_block_are_those_of_the_other_rows(share):
    rng = np.random.default_rng(0)
    labels = rng.normal(size=500).round(1)
    predictions = np.stack([labels, labels + rng.exponential(size=500).round(1)])
    slices = rng.integers(1, 5, 500)
    slices[:2] = 5  # one row in each of two blocks, or two rows in one
    batch = batch_of(predictions.astype(np.float32), labels, None, slices)
    evaluation = evaluation_of(Task.REGRESSION)
    states = evaluation.update(batch)
    ids = np.array([1, 2, 3, 4, 5])

    found = Cumulative(SliceDistributions.of(states["differences"], ids, 1)).without_blocks(share)

    differences = np.abs(batch.predictions[1] - batch.predictions[0]).astype(np.float64)
    for place, slice_id in enumerate(ids):
        rows = differences[slices == slice_id], batch.blocks[slices == slice_id]
        expected = [_quantile_without(rows, block, share) for block in range(32)]
        np.testing.assert_allclose(found[place], expected, rtol=1e-6, atol=1e-6)

"""How sure quantiles are: from the order of the rows, or not at all."""

import math

import numpy as np
import pytest

from tests.transforms.metrics.evaluated import batch_of, evaluate, evaluation_of
from transforms.metrics import EvaluationBatch, Method, Task

_SAMPLES, _ROWS = 500, 600
_SHARES = (0.5, 0.9, 0.99)


def _errors(rng, rows):
    """Returns labels, and predictions of which the second's are off exponentially."""
    labels = rng.normal(size=rows)
    return labels, np.stack([labels, labels + rng.exponential(size=rows)])


@pytest.mark.parametrize("metric", ["absolute_error", "absolute_difference"])
def test_intervals_hold_the_truth_about_as_often_as_they_say(metric):
    rng = np.random.default_rng(1)
    labels, predictions = _errors(rng, _SAMPLES * _ROWS)
    samples = np.repeat(np.arange(_SAMPLES), _ROWS)[:, None]
    blocks = rng.integers(0, 32, labels.size)
    evaluation = evaluation_of(Task.REGRESSION, quantiles=_SHARES)
    states = evaluation.update(
        EvaluationBatch(predictions=predictions, slice_ids=samples, blocks=blocks, labels=labels)
    )
    held = dict.fromkeys(_SHARES, 0)
    for slice_id in range(_SAMPLES):
        found = {
            (each.metric, each.sub_key): each.estimate
            for each in evaluation.finalise(states, slice_id)
            if each.version == 1 and each.is_difference is (metric == "absolute_difference")
        }
        for share in _SHARES:
            estimate = found[metric, f"quantile={share:g}"]
            assert estimate.method is Method.WOODRUFF
            low, high = estimate.interval(0.95)
            held[share] += low <= -math.log(1 - share) <= high
    assert all(0.93 <= number / _SAMPLES <= 0.99 for number in held.values()), held


@pytest.mark.parametrize(("rows", "is_known"), [(360, False), (370, True)])
def test_a_quantile_beyond_which_there_may_be_no_row_has_no_interval(rows, is_known):
    labels, predictions = _errors(np.random.default_rng(0), rows)
    values = evaluate(batch_of(predictions, labels), Task.REGRESSION, quantiles=(0.5, 0.99))
    for is_difference in (False, True):
        far = values.estimate("absolute_error", 1, "quantile=0.99", is_difference=is_difference)
        near = values.estimate("absolute_error", 1, "quantile=0.5", is_difference=is_difference)
        assert math.isnan(far.standard_error) is not is_known
        assert not math.isnan(near.standard_error)


def test_dependent_rows_are_left_out_in_blocks():
    labels, predictions = _errors(np.random.default_rng(0), _ROWS)
    values = evaluate(batch_of(predictions, labels), Task.REGRESSION, is_clustered=True)
    assert values.estimate("absolute_error", 1, "quantile=0.5").method is Method.JACKKNIFE

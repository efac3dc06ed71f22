"""How often 95 % intervals hold the truth, over thousands of samples of a population."""

import numpy as np
import pytest
from sklearn import metrics as sk

from tests.transforms.metrics.evaluated import evaluation_of, two_models
from transforms.metrics import EvaluationBatch
from transforms.metrics.decisions import Decisions
from transforms.metrics.row_means import RowMeans
from transforms.metrics.score_ranking import ScoreRanking

_SEEDS = (11, 23, 47)
_REPLICATES = 2000
_ROWS = 1000
_POPULATION = 50_000
_HALF = "threshold=0.5"
# (metric, sub_key, whether of the difference): the method of each is another.
_METRICS = {
    ("auc", "", True): sk.roc_auc_score,
    ("log_loss", "", True): sk.log_loss,
    ("f1", _HALF, True): lambda labels, scores: sk.f1_score(labels, scores >= 0.5),
    ("average_precision", "", False): sk.average_precision_score,
}


def _truths(labels, scores):
    """Returns what samples are estimates of: the metrics of the population itself."""
    found = {}
    for key, metric in _METRICS.items():
        values = [metric(labels, each) for each in scores]
        found[key] = values[1] - values[0] if key[2] else values[1]
    return found


def _intervals(evaluation, states, slice_id):
    for family in evaluation.families:
        if isinstance(family, RowMeans | Decisions | ScoreRanking):  # the others have none of these
            for each in family.finalise_slices(states, np.array([slice_id])):
                key = (each.metric, each.sub_key, each.is_difference)
                if each.version == 1 and key in _METRICS:
                    yield key, each.estimates.at(0).interval(0.95)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", _SEEDS)
def test_intervals_hold_the_truth_as_often_as_they_say(seed):
    rng = np.random.default_rng(seed)
    labels, scores = two_models(rng, _POPULATION)
    truths = _truths(labels, scores)
    # Each sample is a slice, so that all are measured at once.
    rows = rng.integers(0, _POPULATION, _REPLICATES * _ROWS)
    batch = EvaluationBatch(
        predictions=scores[:, rows],
        slice_ids=np.repeat(np.arange(1, 1 + _REPLICATES), _ROWS)[:, None],
        blocks=rng.integers(0, 32, rows.size),
        labels=labels[rows],
    )
    evaluation = evaluation_of()
    states = evaluation.merge([evaluation.update(batch)])
    held = dict.fromkeys(_METRICS, 0)
    for slice_id in range(1, 1 + _REPLICATES):
        found = dict(_intervals(evaluation, states, slice_id))
        assert found.keys() == _METRICS.keys()
        for key, (low, high) in found.items():
            held[key] += low <= truths[key] <= high
    coverage = {key: times / _REPLICATES for key, times in held.items()}
    assert all(0.92 <= each <= 0.98 for each in coverage.values()), coverage

import math

import numpy as np
from scipy import stats
from scipy.spatial import distance

from transforms.metrics import drift, ranking
from transforms.metrics.ranking import Ranks


def _counts(first, second):
    bins = np.union1d(first, second)
    return [
        np.bincount(np.searchsorted(bins, each), minlength=bins.size).astype(float)
        for each in (first, second)
    ]


def _samples(shift=0.4):
    rng = np.random.default_rng(0)
    return rng.normal(size=1000), rng.normal(size=1000) + shift


def test_ks_is_that_of_scipy():
    first, second = _samples()
    found = ranking.ks_statistic(Ranks(*_counts(first, second)), is_exact=True)
    assert math.isclose(found.value, stats.ks_2samp(first, second).statistic, abs_tol=1e-12)


def test_ks_in_bins_is_certified():
    first, second = _samples()
    edges = np.linspace(-5, 5, 12)
    bins = _counts(np.digitize(first, edges), np.digitize(second, edges))
    found = ranking.ks_statistic(Ranks(*bins), is_exact=False)
    assert found.lower <= stats.ks_2samp(first, second).statistic <= found.upper


def _deciles(first, second):
    edges = np.sort(first)[99:-1:100]
    return [np.bincount(np.searchsorted(edges, each), minlength=10) for each in (first, second)]


def test_js_is_that_of_scipy_on_the_deciles():
    first, second = _samples()
    found = drift.jensen_shannon_distance(drift.deciles_of(*_counts(first, second)))
    expected = distance.jensenshannon(*_deciles(first, second), base=2)
    assert math.isclose(found, expected, abs_tol=1e-12)


def test_psi_is_its_formula_on_the_deciles():
    first, second = _samples()
    p, q = [(each + 0.5) / (1000 + 5) for each in _deciles(first, second)]
    found = drift.psi(drift.deciles_of(*_counts(first, second)))
    assert math.isclose(found.value, ((p - q) * np.log(p / q)).sum(), abs_tol=1e-12)
    assert math.isclose(found.expected, 9 * 2 / 1000)
    assert math.isclose(found.noise, stats.chi2.ppf(0.95, 9) * 2 / 1000)
    assert found.value > found.noise


def test_psi_of_one_distribution_is_mostly_noise():
    rng = np.random.default_rng(1)
    found = [drift.psi(drift.deciles_of(*_counts(*rng.normal(size=(2, 1000))))) for _ in range(400)]
    assert math.isclose(np.mean([each.value for each in found]), found[0].expected, rel_tol=0.1)
    above = np.mean([each.value > each.noise for each in found])
    assert 0.02 < above < 0.09


def test_nothing_drifts_from_itself_and_nothing_is_known_of_nothing():
    counts = np.array([3.0, 0, 5, 9])
    same = drift.deciles_of(counts, counts)
    assert drift.psi(same).value == drift.jensen_shannon_distance(same) == 0
    nothing = drift.deciles_of(np.zeros(0), np.zeros(0))
    assert math.isnan(drift.psi(nothing).value)
    assert math.isnan(drift.jensen_shannon_distance(nothing))


def _deciles_used(first, second):
    found = drift.deciles_of(np.array(first), np.array(second))
    return [each[found.is_used].tolist() for each in (found.baseline, found.candidate)]


def test_few_distinct_numbers_have_few_deciles():
    assert _deciles_used([90.0, 10.0], [50.0, 50.0]) == [[90, 10], [50, 50]]


def test_scores_between_those_of_a_baseline_with_few_are_in_its_deciles():
    """Else a decile without any of the baseline's rows would make the index huge."""
    baseline = np.repeat([0.2, 0.4, 0.6, 0.8], [100, 300, 300, 300])
    candidate = np.random.default_rng(0).uniform(0, 1, 1000)
    expected, actual = _deciles_used(*_counts(baseline, candidate))
    assert expected == [100, 300, 300, 300]
    edges = [0.2, 0.4, 0.6]  # the last decile is open
    counts = np.bincount(np.searchsorted(edges, candidate), minlength=4)
    assert actual == counts.tolist()

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom
from sklearn import metrics as sk
from statsmodels.stats import contingency_tables as contingency

from transforms.metrics import agreement, confusion, delta_method
from transforms.metrics.decisions import AGREEMENT_TABLES, BINARY_TABLES

_ORACLES = {
    "accuracy": sk.accuracy_score,
    "precision": sk.precision_score,
    "recall": sk.recall_score,
    "specificity": lambda y, d, **k: sk.recall_score(1 - y, 1 - d, **k),
    "f1": sk.f1_score,
    "balanced_accuracy": sk.balanced_accuracy_score,
    "positive_rate": lambda y, d, sample_weight: np.average(d, weights=sample_weight),
    "mcc": sk.matthews_corrcoef,
    "kappa": sk.cohen_kappa_score,
}


def _rows(seed, rows=200):
    rng = np.random.default_rng(seed)
    labels, baseline = rng.integers(0, 2, (2, rows))
    candidate = np.where(rng.random(rows) < 0.6, labels, baseline)
    return labels, baseline, candidate, rng.random(rows)


def _cells(labels, baseline, candidate, weights):
    return np.bincount(4 * labels + 2 * baseline + candidate, weights, minlength=8)


@pytest.mark.parametrize("name", list(confusion.CONFUSION_METRICS))
@pytest.mark.parametrize("seed", range(3))
def test_each_version_gets_what_its_own_rows_say(name, seed):
    labels, baseline, candidate, weights = _rows(seed)
    cells = _cells(labels, baseline, candidate, weights)
    expected = [
        _ORACLES[name](labels, each, sample_weight=weights) for each in (baseline, candidate)
    ]
    assert math.isclose(BINARY_TABLES.own[name](cells), expected[1], abs_tol=1e-12)
    change = expected[1] - expected[0]
    assert math.isclose(BINARY_TABLES.changes[name](cells), change, abs_tol=1e-12)


def test_a_table_of_decisions_tells_which_are_right_and_which_changed():
    for cell in range(8):
        label, baseline, candidate = cell >> 2, cell >> 1 & 1, cell & 1
        found = agreement.of_decisions(np.eye(8)[cell])
        expected = 4 * (baseline == label) + 2 * (candidate == label) + (baseline != candidate)
        assert found.argmax() == expected
        assert found.sum() == 1


@given(st.lists(st.integers(0, 50), min_size=8, max_size=8).filter(any))
def test_how_decisions_differ_adds_up(counts):
    cells = agreement.of_decisions(np.array(counts, dtype=float))
    n = cells.sum()
    won, lost = agreement.wins(cells), agreement.losses(cells)
    assert math.isclose(agreement.churn(cells), (won + lost) / n)
    assert math.isclose(
        agreement.unnecessary_churn(cells), (won + lost - abs(won - lost)) / n, abs_tol=1e-15
    )
    assert math.isclose(
        agreement.positive_flip_rate(cells) - agreement.negative_flip_rate(cells),
        AGREEMENT_TABLES.changes["accuracy"](cells),
        abs_tol=1e-15,
    )
    flips = confusion.flips_to_positive(np.array(counts)) + confusion.flips_to_negative(
        np.array(counts)
    )
    assert math.isclose(flips, agreement.churn(cells))


def test_trust_and_error_are_conditional_shares():
    # wrong both 10, only candidate right 20, only baseline right 5, right both 65
    cells = np.array([10.0, 0, 0, 20, 0, 5, 65, 0])
    assert agreement.backward_trust(cells) == 65 / 70
    assert agreement.backward_error(cells) == 10 / 15
    assert agreement.win_loss_ratio(cells) == 4


@pytest.mark.parametrize(
    ("won", "lost", "statistic", "corrected"),
    [(121, 59, 3844 / 180, 20.6722), (150, 86, 64**2 / 236, 16.818)],
)
def test_mcnemar_gives_the_published_figures(won, lost, statistic, corrected):
    found = agreement.mcnemar(won, lost)
    assert math.isclose(found.statistic, statistic)
    assert abs(found.corrected_statistic - corrected) < 5e-4
    expected = contingency.mcnemar([[0, lost], [won, 0]], exact=True)
    assert math.isclose(found.p_value, expected.pvalue, rel_tol=1e-10)


@given(st.integers(0, 700), st.integers(0, 700))
def test_mcnemar_is_that_of_statsmodels(won, lost):
    found = agreement.mcnemar(won, lost)
    if not won + lost:
        assert all(math.isnan(each) for each in found)
        return
    is_exact = won + lost < 1000
    expected = contingency.mcnemar([[0, lost], [won, 0]], exact=is_exact, correction=False)
    assert math.isclose(found.p_value, min(expected.pvalue, 1), rel_tol=1e-9, abs_tol=1e-300)
    assert found.mid_p_value <= found.p_value


def test_equal_wins_and_losses_are_no_evidence():
    assert agreement.mcnemar(5, 5).p_value == 1


@pytest.mark.parametrize(("won", "lost"), [(0, 0), (1, 0), (1, 1), (5, 5), (2, 9), (30, 21)])
def test_the_mid_p_value_counts_the_outcome_itself_half(won, lost):
    outcomes = np.arange(won + lost + 1)
    chances = binom.pmf(outcomes, won + lost, 0.5)
    distances = np.abs(2 * outcomes - won - lost)
    expected = chances[distances > abs(won - lost)].sum()
    expected += chances[distances == abs(won - lost)].sum() / 2
    found = agreement.mcnemar(won, lost).mid_p_value
    assert found == pytest.approx(expected if won + lost else math.nan, nan_ok=True)


_ALL = {**BINARY_TABLES.own, **BINARY_TABLES.changes, **BINARY_TABLES.paired}


@pytest.mark.parametrize("name", list(_ALL))
def test_the_delta_method_is_that_of_finite_differences(name):
    cells = np.array([40.0, 7, 9, 12, 11, 8, 6, 50])
    metric, n, step = _ALL[name], cells.sum(), 1e-6
    shares = cells / n
    gradient = np.array(
        [(metric(shares + step * e) - metric(shares - step * e)) / (2 * step) for e in np.eye(8)]
    )
    expected = math.sqrt(((shares * gradient**2).sum() - (shares * gradient).sum() ** 2) / n)
    found = delta_method.estimates(metric, cells, cells)
    assert math.isclose(found.standard_error, expected, rel_tol=1e-6)


def test_the_delta_method_tells_the_spread_of_samples():
    rng = np.random.default_rng(0)
    shares = np.array([0.3, 0.05, 0.1, 0.05, 0.1, 0.05, 0.05, 0.3])
    metric = BINARY_TABLES.changes["f1"]
    samples = rng.multinomial(2000, shares, size=4000).astype(float)
    found = delta_method.estimates(metric, samples[0], samples[0])
    assert math.isclose(found.standard_error, metric(samples).std(), rel_tol=0.05)


def test_pseudo_rows_keep_an_empty_cell_from_being_certain():
    few = np.array([0.0, 0, 0, 0, 0, 0, 0, 30])
    for name in ("recall", "precision", "accuracy"):
        change = BINARY_TABLES.changes[name]
        assert delta_method.estimates(change, few, few).standard_error == 0
        found = delta_method.estimates(change, few, few, pseudo_rows=2)
        assert found.value == 0
        assert 0.01 < found.standard_error < 0.1
        many = delta_method.estimates(change, 1000 * few, 1000 * few, pseudo_rows=2)
        assert many.standard_error < 1e-4


def test_weights_of_two_are_not_twice_the_evidence():
    cells = np.array([40.0, 7, 9, 12, 11, 8, 6, 50])
    once = delta_method.estimates(_ALL["f1"], cells, cells)
    twice = delta_method.estimates(_ALL["f1"], 2 * cells, 4 * cells)
    assert math.isclose(once.standard_error, twice.standard_error)


@pytest.mark.parametrize("name", list(_ALL))
def test_no_rows_say_nothing(name):
    with np.errstate(all="raise"):
        assert math.isnan(delta_method.estimates(_ALL[name], np.zeros(8), np.zeros(8)).value)

import numpy as np
import pytest
from statsmodels import api

from transforms.metrics import calibration


def test_the_error_is_the_mean_gap_of_bins():
    weights, labels, scores = np.array([[4.0, 0, 6], [1, 0, 6], [2, 0, 5.4]])
    found = calibration.expected_calibration_error(weights, labels, scores)
    assert found == pytest.approx(0.4 * 0.25 + 0.6 * 0.1)
    assert calibration.max_calibration_error(weights, labels, scores) == pytest.approx(0.25)


def test_no_rows_have_no_error():
    nothing = np.zeros((3, 5))
    assert np.isnan(calibration.expected_calibration_error(*nothing))
    assert np.isnan(calibration.max_calibration_error(*nothing))


def _line(scores, counts, *start):
    return calibration.calibration_line(scores, counts[..., 1, :], counts[..., 0, :], *start)


@pytest.mark.parametrize("seed", range(3))
def test_the_line_is_that_of_statsmodels(seed):
    rng = np.random.default_rng(seed)
    scores = rng.random(300)
    logits = np.log(scores / (1 - scores))
    labels = (rng.random(300) < 1 / (1 + np.exp(0.5 - 0.7 * logits))).astype(int)
    weights = rng.random(300)
    model = api.GLM(
        labels, api.add_constant(logits), family=api.families.Binomial(), freq_weights=weights
    )
    expected = model.fit(tol=1e-14, maxiter=200).params
    counts = np.stack([weights * (1 - labels), weights * labels])
    assert _line(scores, counts) == pytest.approx(expected, abs=1e-10)


def test_the_lines_of_blocks_are_found_at_once():
    rng = np.random.default_rng(0)
    scores, counts = rng.random(50), rng.random((4, 2, 50))
    together = _line(scores, counts)
    for block in range(4):
        alone = _line(scores, counts[block])
        assert [each[block] for each in together] == pytest.approx(np.array(alone), abs=1e-11)


def test_a_line_does_not_depend_on_those_beside_it():
    rng = np.random.default_rng(0)
    scores, counts = rng.random(50), rng.random((6, 2, 50))
    counts[0, 1, 10:] = 0  # takes more steps than the others
    start = (np.full(6, 0.1), np.full(6, 0.2))
    together = calibration.calibration_line(
        scores, counts[:, 1], counts[:, 0], start, tolerance=1e-2
    )
    for place in range(6):
        alone = calibration.calibration_line(
            scores,
            counts[place, 1],
            counts[place, 0],
            (start[0][place], start[1][place]),
            tolerance=1e-2,
        )
        assert [each[place] for each in together] == pytest.approx(np.array(alone), rel=1e-12)


def test_scores_that_separate_the_labels_have_no_line():
    counts = np.array([[5.0, 5, 0, 0], [0, 0, 5, 5]])
    found = _line(np.array([0.1, 0.2, 0.8, 0.9]), counts)
    assert np.isnan(found).all()


@pytest.mark.parametrize("start", [(0.01, 0.05), (0.3, 0.9), (np.nan, np.nan)])
def test_a_start_does_not_change_the_line(start):
    rng = np.random.default_rng(0)
    scores, counts = rng.random(50), rng.random((4, 2, 50))
    expected = np.array(_line(scores, counts))
    found = _line(scores, counts, start)
    assert np.array(found) == pytest.approx(expected, abs=1e-11)

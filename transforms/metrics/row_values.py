"""Values per row of which means are metrics, [versions, rows] for a batch."""

import numpy as np

from transforms.metrics.array_types import Floats
from transforms.metrics.evaluation_batch import EvaluationBatch

# As scikit-learn clips: the distance between 1 and the next number.
_EPSILON = float(np.finfo(np.float64).eps)


def label(batch: EvaluationBatch) -> Floats:
    """Returns the labels, the same for all versions."""
    shape = (batch.num_versions, batch.num_rows)
    return np.broadcast_to(batch.known_labels().astype(np.float64), shape)


def centred_label(batch: EvaluationBatch, centre: float) -> Floats:
    """Returns the labels less a number near their mean."""
    return label(batch) - centre


def squared_centred_label(batch: EvaluationBatch, centre: float) -> Floats:
    """Returns the squares of the same, whose mean loses no digits to the labels' mean."""
    return np.square(centred_label(batch, centre))


def prediction(batch: EvaluationBatch) -> Floats:
    """Returns the predictions."""
    return _scores(batch)


def error(batch: EvaluationBatch) -> Floats:
    """Returns predictions less labels."""
    errors = _scores(batch)
    errors -= batch.known_labels()
    return errors


def absolute_error(batch: EvaluationBatch) -> Floats:
    """Returns by how much predictions are off."""
    errors = error(batch)
    return np.abs(errors, out=errors)


def squared_error(batch: EvaluationBatch) -> Floats:
    """Returns the squares of the errors; of probabilities, the Brier score."""
    errors = error(batch)
    return np.square(errors, out=errors)


def absolute_percentage_error(batch: EvaluationBatch) -> Floats:
    """Returns errors relative to labels; undefined where the label is 0."""
    labels = np.abs(label(batch))
    return np.where(labels > 0, absolute_error(batch) / np.where(labels > 0, labels, 1), np.nan)


def log_loss(batch: EvaluationBatch) -> Floats:
    """Returns minus the logarithm of the probability of the label, clipped to [eps, 1 - eps]."""
    of_label = _scores(batch)
    of_label -= 1 - batch.known_labels()  # leaves the score, or the score less 1: no branch
    np.abs(of_label, out=of_label)
    losses: Floats = np.log(np.clip(of_label, _EPSILON, 1 - _EPSILON, out=of_label), out=of_label)
    return np.negative(losses, out=losses)


def class_log_loss(batch: EvaluationBatch) -> Floats:
    """Returns minus the logarithm of the probability of the labelled class, clipped likewise."""
    return -np.log(np.clip(_of_label(batch), _EPSILON, 1 - _EPSILON))


def class_brier(batch: EvaluationBatch) -> Floats:
    """Returns the squared distance of the probabilities from certainty of the labelled class."""
    scores = batch.predictions.astype(np.float64)
    return np.square(scores).sum(axis=2) + 1 - 2 * _of_label(batch)


def reciprocal_rank(batch: EvaluationBatch) -> Floats:
    """Returns 1 / rank of the labelled class."""
    return 1 / (1 + classes_above(batch))


def classes_above(batch: EvaluationBatch) -> Floats:
    """Returns how many classes have a higher score than the labelled; ties count half."""
    scores = batch.predictions.astype(np.float64)
    own = _of_label(batch)[:, :, None]
    ties = (scores == own).sum(axis=2) - 1
    above: Floats = (scores > own).sum(axis=2) + ties / 2
    return above


def _scores(batch: EvaluationBatch) -> Floats:
    scores = batch.predictions if batch.predictions.ndim == 2 else batch.predictions[:, :, 0]
    return scores.astype(np.float64)


def _of_label(batch: EvaluationBatch) -> Floats:
    labels = batch.known_labels().astype(np.int64)[None, :, None]
    own = np.take_along_axis(
        batch.predictions, np.broadcast_to(labels, (batch.num_versions, batch.num_rows, 1)), axis=2
    )
    return own[:, :, 0].astype(np.float64)

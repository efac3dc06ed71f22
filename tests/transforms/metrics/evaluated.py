"""Small evaluations, and look-ups in what they say."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from transforms.metrics import (
    EvaluationBatch,
    EvaluationOptions,
    Task,
    create_evaluation,
    key_blocks,
)
from transforms.metrics.key_blocks import NUM_BLOCKS


def batch_of(predictions, labels=None, weights=None, slices=None, keys=None, num_blocks=NUM_BLOCKS):
    """Returns a batch; without `slices` all rows are in slice 0 alone."""
    predictions = np.asarray(predictions)
    rows = predictions.shape[1]
    keys = pa.array(np.arange(rows)) if keys is None else pa.array(keys)
    overall = np.zeros((rows, 1), dtype=np.int64)
    return EvaluationBatch(
        predictions=predictions,
        slice_ids=overall if slices is None else np.column_stack([overall, slices]),
        blocks=key_blocks(keys, num_blocks),
        labels=None if labels is None else np.asarray(labels, dtype=np.float64),
        weights=None if weights is None else np.asarray(weights, dtype=np.float64),
        example_keys=keys,
    )


def evaluation_of(task=Task.BINARY, num_versions=2, **options):
    return create_evaluation(EvaluationOptions(task=task, num_versions=num_versions, **options))


class Values:
    """The metrics of one slice, by name."""

    def __init__(self, evaluation, states, slice_id=0):
        found = list(evaluation.finalise(states, slice_id))
        self._found = {(v.metric, v.version, v.sub_key, v.is_difference): v for v in found}
        assert len(self._found) == len(found), "a metric is given twice"

    def names(self):
        return {metric for metric, *_ in self._found}

    def estimate(self, metric, version=0, sub_key="", *, is_difference=False):
        return self._found[metric, version, sub_key, is_difference].estimate

    def value(self, metric, version=0, sub_key=""):
        return self.estimate(metric, version, sub_key).value

    def change(self, metric, version=1, sub_key=""):
        return self.estimate(metric, version, sub_key, is_difference=True).value

    def differences(self):
        return {key: v.estimate for key, v in self._found.items() if v.is_difference}

    def all(self):
        return {key: v.estimate for key, v in self._found.items()}


def evaluate(batch, task=Task.BINARY, slice_id=0, **options):
    evaluation = evaluation_of(
        task,
        batch.num_versions,
        is_labelled=batch.labels is not None,
        is_weighted=batch.weights is not None,
        **options,
    )
    return Values(evaluation, evaluation.update(batch), slice_id)


def parquet_bytes(table):
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def two_models(rng, rows, *, gain=0.5, as_float32=True):
    """Returns labels and the probabilities of a model and of a related, better one."""
    labels = (rng.random(rows) < 0.3).astype(np.float64)
    noise = rng.normal(size=(3, rows))
    logits = [
        1.5 * labels + noise[0] + 0.5 * noise[1],
        (1.5 + gain) * labels + noise[0] + 0.5 * noise[2],
    ]
    scores = 1 / (1 + np.exp(1 - np.array(logits)))
    return labels, scores.astype(np.float32) if as_float32 else scores

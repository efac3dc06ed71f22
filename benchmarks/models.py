"""The model of the tabular workloads: a network of 32-64-32-1 units, served in three ways."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import tensorflow as tf

WIDTHS = (32, 64, 32, 1)
COLUMNS = tuple(f"f{index:02d}" for index in range(WIDTHS[0]))


class Scorer(tf.Module):
    """A dense network with fixed random weights; its score lies between 0 and 1."""

    def __init__(self) -> None:
        super().__init__()
        rng = np.random.default_rng(17)
        pairs = list(pairwise(WIDTHS))
        self.kernels = [variable(rng, (i, o), scale=(2 / i) ** 0.5) for i, o in pairs]
        self.biases = [variable(rng, (o,), scale=0.1) for _, o in pairs]

    def score(self, x: tf.Tensor) -> tf.Tensor:
        """Maps [rows, 32] features to [rows] scores."""
        *hidden, (kernel, bias) = zip(self.kernels, self.biases, strict=True)
        for hidden_kernel, hidden_bias in hidden:
            x = tf.nn.relu(x @ hidden_kernel + hidden_bias)
        return tf.squeeze(tf.sigmoid(x @ kernel + bias), axis=1)

    @tf.function
    def serve_matrix(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        """All features in one tensor."""
        return {"score": self.score(x)}

    @tf.function
    def serve_columns(self, **columns: tf.Tensor) -> dict[str, tf.Tensor]:
        """One tensor for each feature."""
        return {"score": self.score(tf.stack([columns[name] for name in COLUMNS], axis=1))}

    @tf.function
    def serve_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Serialized `tf.train.Example`s, parsed in the graph; hands their ids through."""
        features = {name: tf.io.FixedLenFeature([], tf.float32) for name in COLUMNS}
        features["id"] = tf.io.FixedLenFeature([], tf.int64)
        parsed = tf.io.parse_example(examples, features)
        x = tf.stack([parsed[name] for name in COLUMNS], axis=1)
        return {"id": parsed["id"], "score": self.score(x)}


def save_tabular(version_dir: Path) -> None:
    """Saves the network with the signatures `serving_default` (a matrix) and `columns`."""
    scorer = Scorer()
    columns = {name: tf.TensorSpec([None], tf.float32, name=name) for name in COLUMNS}
    matrix = tf.TensorSpec([None, WIDTHS[0]], tf.float32, name="x")
    signatures = {
        "serving_default": scorer.serve_matrix.get_concrete_function(matrix),
        "columns": scorer.serve_columns.get_concrete_function(**columns),
    }
    tf.saved_model.save(scorer, str(version_dir), signatures=signatures)


def save_examples(version_dir: Path) -> None:
    """Saves the network with a `serving_default` that takes serialized Examples."""
    scorer = Scorer()
    examples = tf.TensorSpec([None], tf.string, name="examples")
    signature = scorer.serve_examples.get_concrete_function(examples)
    tf.saved_model.save(scorer, str(version_dir), signatures={"serving_default": signature})


def variable(rng: np.random.Generator, shape: tuple[int, ...], scale: float) -> tf.Variable:
    """Returns fixed random weights."""
    return tf.Variable((rng.standard_normal(shape) * scale).astype(np.float32))

"""The model of the ragged workload: a small transformer encoder over padded token ids."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from benchmarks.datasets import MAX_LENGTH, VOCABULARY_SIZE
from benchmarks.models import variable

NUM_LAYERS = 2
NUM_HEADS = 2
WIDTH = 64
HEAD_WIDTH = WIDTH // NUM_HEADS
FEED_FORWARD_WIDTH = 128
HIDDEN_FROM_ATTENTION = -1e9


class Layer(tf.Module):
    """Self-attention and a feed-forward network, each behind a normalisation and beside a shortcut."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        self.attention_in = _matrix(rng, WIDTH, 3 * WIDTH)
        self.attention_out = _matrix(rng, WIDTH, WIDTH)
        self.feed_forward_in = _matrix(rng, WIDTH, FEED_FORWARD_WIDTH)
        self.feed_forward_out = _matrix(rng, FEED_FORWARD_WIDTH, WIDTH)

    def __call__(self, x: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
        """Maps [rows, length, WIDTH] to the same shape; `bias` is added to the attention scores."""
        x = x + self._attend(_normalised(x), bias)
        return x + tf.reshape(self._feed_forward(_flat(_normalised(x))), tf.shape(x))

    def _attend(self, x: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
        shape = tf.shape(x)
        projected = tf.reshape(
            _flat(x) @ self.attention_in, [shape[0], shape[1], 3, NUM_HEADS, HEAD_WIDTH]
        )
        query, key, value = tf.unstack(tf.transpose(projected, [2, 0, 3, 1, 4]))
        scores = tf.matmul(query, key, transpose_b=True) / HEAD_WIDTH**0.5 + bias
        attended = tf.transpose(tf.nn.softmax(scores) @ value, [0, 2, 1, 3])
        return tf.reshape(_flat(attended) @ self.attention_out, shape)

    def _feed_forward(self, x: tf.Tensor) -> tf.Tensor:
        return tf.nn.relu(x @ self.feed_forward_in) @ self.feed_forward_out


class Transformer(tf.Module):
    """Embeds tokens and positions, runs the layers, and scores the mean of the tokens."""

    def __init__(self) -> None:
        super().__init__()
        rng = np.random.default_rng(41)
        self.tokens = variable(rng, (VOCABULARY_SIZE, WIDTH), scale=0.5)
        self.positions = variable(rng, (MAX_LENGTH, WIDTH), scale=0.1)
        self.layers = [Layer(rng) for _ in range(NUM_LAYERS)]
        self.head = _matrix(rng, WIDTH, 1)

    @tf.function
    def serve(self, ids: tf.Tensor, mask: tf.Tensor) -> dict[str, tf.Tensor]:
        """Maps padded [rows, length] ids, and a mask of 1 where a token is, to [rows] scores."""
        x = tf.gather(self.tokens, ids) + self.positions[: tf.shape(ids)[1]]
        bias = (1.0 - mask)[:, tf.newaxis, tf.newaxis, :] * HIDDEN_FROM_ATTENTION
        for layer in self.layers:
            x = layer(x, bias)
        kept = _normalised(x) * mask[:, :, tf.newaxis]
        mean = tf.reduce_sum(kept, axis=1) / tf.reduce_sum(mask, axis=1, keepdims=True)
        return {"score": tf.squeeze(tf.sigmoid(mean @ self.head), axis=1)}


def save(version_dir: Path) -> None:
    """Saves the transformer with a `serving_default` that takes `ids` and `mask`."""
    model = Transformer()
    ids = tf.TensorSpec([None, None], tf.int32, name="ids")
    mask = tf.TensorSpec([None, None], tf.float32, name="mask")
    signature = model.serve.get_concrete_function(ids, mask)
    tf.saved_model.save(model, str(version_dir), signatures={"serving_default": signature})


def _matrix(rng: np.random.Generator, rows: int, columns: int) -> tf.Variable:
    return variable(rng, (rows, columns), scale=(2 / rows) ** 0.5)


def _flat(x: tf.Tensor) -> tf.Tensor:
    """One row for each token: a plain matrix product is faster than a batched one."""
    return tf.reshape(x, [-1, WIDTH])


def _normalised(x: tf.Tensor) -> tf.Tensor:
    centred = x - tf.reduce_mean(x, axis=-1, keepdims=True)
    variance = tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True)
    return centred * tf.math.rsqrt(variance + 1e-5)

"""The model of the images workload: a convolutional network that does 456 million operations per image."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import tensorflow as tf

from benchmarks.datasets import IMAGE_SIZE
from benchmarks.models import variable

CHANNELS = (3, 64, 128, 128, 256, 256)
POOLED_LAYERS = (1, 3)  # an image of 32 by 32 shrinks to 16, then to 8
NUM_CLASSES = 10
IMAGE_SHAPE = (32, 32, 3)


class ImageClassifier(tf.Module):
    """Five layers of 3 by 3 convolutions and the mean over the pixels."""

    def __init__(self) -> None:
        super().__init__()
        rng = np.random.default_rng(31)
        pairs = list(pairwise(CHANNELS))
        self.kernels = [variable(rng, (3, 3, i, o), scale=(2 / (9 * i)) ** 0.5) for i, o in pairs]
        self.biases = [variable(rng, (o,), scale=0.1) for _, o in pairs]
        self.head = variable(rng, (CHANNELS[-1], NUM_CLASSES), scale=(2 / CHANNELS[-1]) ** 0.5)

    @tf.function
    def serve(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """Maps flat [rows, 3072] images to [rows, 10] logits."""
        x = tf.reshape(image, [-1, *IMAGE_SHAPE])
        for index, (kernel, bias) in enumerate(zip(self.kernels, self.biases, strict=True)):
            x = tf.nn.relu(tf.nn.conv2d(x, kernel, strides=1, padding="SAME") + bias)
            if index in POOLED_LAYERS:
                x = tf.nn.max_pool2d(x, ksize=2, strides=2, padding="SAME")
        return {"logits": tf.reduce_mean(x, axis=[1, 2]) @ self.head}


def save(version_dir: Path) -> None:
    """Saves the network with a `serving_default` that takes `image`."""
    model = ImageClassifier()
    image = tf.TensorSpec([None, IMAGE_SIZE], tf.float32, name="image")
    signature = model.serve.get_concrete_function(image)
    tf.saved_model.save(model, str(version_dir), signatures={"serving_default": signature})

"""The demo's models: three versions, of which the last is better overall and wrong where it counts.

    <base>/1  logistic regression on the two columns about the insurance plan
    <base>/2  a small network on all columns
    <base>/3  the same network, trained after a logging fault

The fault lost three quarters of the visits of people in poor health (`hlthp` = 1, 1.5 % of the rows).
Version 3 therefore still beats version 1 on average, and only a look at that slice shows that it
must not replace it. Every version is a SavedModel whose `serving_default` takes one float32 input
of shape [None, 1] per column, named like it, and gives `probability` of shape [None, 1].
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.demo_data import FEATURES, LABEL

BASELINE_FEATURES = ("lncoins", "idp")  # the terms of the plan, nothing about the person
FAULTY_SLICE = "hlthp"  # rows where it is 1
OUTPUT = "probability"
_BATCH_SIZE = 1024
_EPOCHS = 20
_LEARNING_RATE = 0.02


def train_versions(train_table: pa.Table, model_base_path: str, seed: int) -> list[str]:
    """Trains and exports the three versions.

    Args:
        train_table: Rows with the columns of `demo_data.load_table`.
        model_base_path: Directory of the model; gets the version directories 1, 2 and 3.
        seed: The same rows and seed give the same models.

    Returns:
        The version directories, in order.
    """
    labels = train_table[LABEL].to_numpy()
    faulty = _lose_visits(labels, train_table[FAULTY_SLICE].to_numpy() == 1, seed)
    models = [
        _train(train_table, BASELINE_FEATURES, labels, hidden_units=0, seed=seed),
        _train(train_table, FEATURES, labels, hidden_units=16, seed=seed),
        _train(train_table, FEATURES, faulty, hidden_units=16, seed=seed),
    ]
    paths = [str(Path(model_base_path) / str(i + 1)) for i in range(len(models))]
    for model, path in zip(models, paths, strict=True):
        model.export(path, verbose=False)
    return paths


def _lose_visits(
    labels: npt.NDArray[np.int64], in_slice: npt.NDArray[np.bool_], seed: int
) -> npt.NDArray[np.int64]:
    """Returns the labels as a fault logs them: three quarters of the visits in the slice are missing."""
    visits = np.flatnonzero(in_slice & (labels == 1))
    lost = np.random.default_rng(seed).choice(visits, size=len(visits) * 3 // 4, replace=False)
    recorded = labels.copy()
    recorded[lost] = 0
    return recorded


def _train(
    table: pa.Table,
    features: tuple[str, ...],
    labels: npt.NDArray[np.int64],
    *,
    hidden_units: int,
    seed: int,
) -> Any:
    """Returns a fitted Keras model; every source of chance takes `seed`, none is global."""
    import keras
    import tensorflow as tf

    columns = {name: table[name].to_numpy().reshape(-1, 1) for name in features}
    targets = {OUTPUT: labels.reshape(-1, 1).astype(np.float32)}
    rows = tf.data.Dataset.from_tensor_slices((columns, targets))
    batches = rows.cache().shuffle(len(labels), seed=seed).batch(_BATCH_SIZE)
    model = _network(columns, hidden_units, seed)
    model.compile(optimizer=keras.optimizers.Adam(_LEARNING_RATE), loss="binary_crossentropy")
    model.fit(batches, epochs=_EPOCHS, shuffle=False, verbose=0)  # shuffled above
    return model


def _network(columns: dict[str, npt.NDArray[np.float32]], hidden_units: int, seed: int) -> Any:
    """Returns the untrained model: named inputs, normalised inside, to a named probability."""
    import keras

    values = np.concatenate(list(columns.values()), axis=1)
    inputs = {name: keras.Input((1,), name=name, dtype="float32") for name in columns}
    layer = keras.layers.Concatenate()(list(inputs.values()))
    layer = keras.layers.Normalization(mean=values.mean(axis=0), variance=values.var(axis=0))(layer)
    if hidden_units:
        layer = _dense(hidden_units, "relu", seed, name="hidden")(layer)
    return keras.Model(inputs, {OUTPUT: _dense(1, "sigmoid", seed, name=OUTPUT)(layer)})


def _dense(units: int, activation: str, seed: int, *, name: str) -> Any:
    import keras

    kernel = keras.initializers.GlorotUniform(seed=seed)
    return keras.layers.Dense(units, activation, kernel_initializer=kernel, name=name)

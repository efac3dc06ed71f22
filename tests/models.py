"""Small SavedModels for tests, and the direct calls that jobs are compared with.

Every maker writes one version below a base path and returns the version's directory:

    path = save_linear(base, 1, num_features=3)     <base>/1/saved_model.pb
    scores = call_model(path, features=matrix)["score"]
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow

Signature = tuple[Callable[..., Mapping[str, Any]], Mapping[str, Any]]


def save_signatures(
    base_path: str | Path,
    version: int,
    signatures: Mapping[str, Signature],
    variables: Sequence[Any] = (),
) -> str:
    """Exports functions as a SavedModel.

    Args:
        base_path: Directory of the model.
        version: Name of the version directory.
        signatures: By name the function and the `tf.TensorSpec` of each of its arguments. Functions
            take their inputs by name and return a dict of tensors.
        variables: What the functions use, for the model to own.
    """
    tf = import_tensorflow()
    module = tf.Module()
    module.owned = list(variables)
    functions = {}
    for name, (function, specs) in signatures.items():
        named = [tf.TensorSpec(each.shape, each.dtype, key) for key, each in specs.items()]
        functions[name] = tf.function(_by_name(function, list(specs)), input_signature=named)
        setattr(module, f"call_{name}", functions[name])
    path = _version_path(base_path, version)
    tf.saved_model.save(module, path, signatures=functions)
    return path


def _by_name(function: Callable[..., Mapping[str, Any]], names: list[str]) -> Callable[..., Any]:
    def call(*tensors: Any) -> Mapping[str, Any]:
        return function(**dict(zip(names, tensors, strict=True)))

    return call


def _version_path(base_path: str | Path, version: int) -> str:
    return str(Path(base_path) / str(version))


def call_model(
    path: str, signature_name: str = "serving_default", **inputs: Any
) -> dict[str, np.ndarray]:
    """Calls a signature directly: what a job over the same rows must give."""
    tf = import_tensorflow()
    outputs = load(path).signatures[signature_name](
        **{name: tf.constant(value) for name, value in inputs.items()}
    )
    return {name: value.numpy() for name, value in outputs.items()}


@functools.lru_cache(maxsize=32)
def load(path: str) -> Any:
    """Returns the loaded model, the same object each time."""
    return import_tensorflow().saved_model.load(path)


def save_linear(base_path: str | Path, version: int, *, num_features: int = 4) -> str:
    """`features` float32 [None, k] -> `score` [None, 1] = tanh of a dot product, weights by version."""
    tf = import_tensorflow()
    weights = np.random.default_rng(version).normal(size=(num_features, 1)).astype(np.float32)
    kernel = tf.Variable(weights)

    def call(features):
        return {"score": tf.tanh(features @ kernel)}

    specs = {"features": tf.TensorSpec([None, num_features], tf.float32)}
    return save_signatures(base_path, version, {"serving_default": (call, specs)}, [kernel])


def save_batch_facts(base_path: str | Path, version: int, *, num_features: int = 4) -> str:
    """`features` float32 [None, k] -> what was in the batch: `batch_rows`, `batch_first`, `score`.

    `batch_rows` is the number of rows of the call that a row was in, `batch_first` the sum of that
    call's first row.
    """
    tf = import_tensorflow()
    weights = np.random.default_rng(version).normal(size=(num_features, 8)).astype(np.float32)
    kernel = tf.Variable(weights)

    def call(features):
        rows = tf.shape(features)[0]
        first = tf.reduce_sum(features[0])
        return {
            "batch_rows": tf.fill([rows], rows),
            "batch_first": tf.fill([rows], first),
            "score": tf.reduce_sum(tf.tanh(features @ kernel), axis=1),
        }

    specs = {"features": tf.TensorSpec([None, num_features], tf.float32)}
    return save_signatures(base_path, version, {"serving_default": (call, specs)}, [kernel])


def save_scalars(base_path: str | Path, version: int, names: Sequence[str]) -> str:
    """One float32 [None] input for each of `names` -> `score` [None], a weighted sum."""
    tf = import_tensorflow()

    def call(**inputs):
        terms = [(index + version) * inputs[name] for index, name in enumerate(names)]
        return {"score": tf.add_n(terms)}

    specs = {name: tf.TensorSpec([None], tf.float32) for name in names}
    return save_signatures(base_path, version, {"serving_default": (call, specs)})


def save_identity(base_path: str | Path, version: int, dtypes: Sequence[str]) -> str:
    """For each dtype an input of that name, [None] -> an output `<dtype>_out` with the same values."""
    tf = import_tensorflow()

    def call(**inputs):
        return {f"{name}_out": tf.identity(value) for name, value in inputs.items()}

    specs = {name: tf.TensorSpec([None], name) for name in dtypes}
    return save_signatures(base_path, version, {"serving_default": (call, specs)})


def save_examples(base_path: str | Path, version: int, features: Sequence[str]) -> str:
    """`examples` string [None] -> `score` [None], the sum of float `features` parsed inside."""
    tf = import_tensorflow()

    def call(examples):
        spec = {name: tf.io.FixedLenFeature([], tf.float32) for name in features}
        parsed = tf.io.parse_example(examples, spec)
        return {"score": version * tf.add_n([parsed[name] for name in features])}

    specs = {"examples": tf.TensorSpec([None], tf.string)}
    return save_signatures(base_path, version, {"serving_default": (call, specs)})


def save_text(base_path: str | Path, version: int) -> str:
    """`text` string [None] -> `upper` string [None] and `length` int32 [None], in bytes."""
    tf = import_tensorflow()

    def call(text):
        return {"upper": tf.strings.upper(text), "length": tf.strings.length(text)}

    specs = {"text": tf.TensorSpec([None], tf.string)}
    return save_signatures(base_path, version, {"serving_default": (call, specs)})


def save_ranks(base_path: str | Path, version: int) -> str:
    """`x` float32 [None] -> outputs of ranks 1 to 3; a second signature `doubled` gives `twice`."""
    tf = import_tensorflow()

    def call(x):
        return {
            "scalar": x + 1,
            "column": tf.reshape(x, [-1, 1]) + 2,
            "row": x[:, None] * tf.constant([[1.0, 2.0, 3.0]]),
            "matrix": x[:, None, None] + tf.constant([[[0.0, 1.0], [2.0, 3.0]]]),
            "label": tf.strings.as_string(tf.cast(x, tf.int32)),
        }

    def doubled(x):
        return {"twice": 2 * x}

    specs = {"x": tf.TensorSpec([None], tf.float32)}
    return save_signatures(
        base_path, version, {"serving_default": (call, specs), "doubled": (doubled, specs)}
    )


def save_ragged(base_path: str | Path, version: int) -> str:
    """Signatures that take rows of any length, padded; `version` is added to what they return.

    `serving_default`: `ids` int32 [None, None], `mask` float32 of that shape, `length` int64 [None]
    -> `score` [None], the mean id, and `tokens` [None, None], the doubled ids. Fails on ids of 1000.
    `largest`: `ids` alone -> `most` [None], padding included, and `digits` [None, None], which is 16
    wide whatever the length: the lowest bits of `most`.
    `text`: `words` string [None, None], `mask` bool -> `joined` string [None], `upper` [None, None].
    `boxes`: `boxes` float32 [None, None, 2], `length` int32 [None] -> `area` [None] and `moved`, as
    `boxes`.
    """
    tf = import_tensorflow()
    rows = [None, None]
    ids, mask = tf.TensorSpec(rows, tf.int32), tf.TensorSpec(rows, tf.float32)

    def mean(ids, mask, length):
        with tf.control_dependencies([tf.debugging.assert_less(ids, 1000, "ids are below 1000")]):
            total = tf.reduce_sum(tf.cast(ids, tf.float32) * mask, axis=1)
        score = total / tf.cast(tf.maximum(length, 1), tf.float32)
        return {"score": score + version, "tokens": 2 * ids + version}

    def largest(ids):
        most = tf.reduce_max(ids, axis=1) + version
        digits = tf.bitwise.bitwise_and(tf.bitwise.right_shift(most[:, None], tf.range(16)), 1)
        of_unknown_width = tf.compat.v1.placeholder_with_default(digits, rows)
        return {"most": most, "digits": of_unknown_width}

    def text(words, mask):
        kept = tf.where(mask, tf.strings.join([words, " "]), "")
        return {"joined": tf.strings.reduce_join(kept, 1), "upper": tf.strings.upper(words)}

    def boxes(boxes, length):
        kept = boxes * tf.sequence_mask(length, tf.shape(boxes)[1], tf.float32)[:, :, None]
        area = tf.reduce_sum(kept[:, :, 0] * kept[:, :, 1], axis=1)
        return {"area": area + version, "moved": boxes + version}

    return save_signatures(
        base_path,
        version,
        {
            "serving_default": (
                mean,
                {"ids": ids, "mask": mask, "length": tf.TensorSpec([None], tf.int64)},
            ),
            "largest": (largest, {"ids": ids}),
            "text": (
                text,
                {"words": tf.TensorSpec(rows, tf.string), "mask": tf.TensorSpec(rows, tf.bool)},
            ),
            "boxes": (
                boxes,
                {
                    "boxes": tf.TensorSpec([*rows, 2], tf.float32),
                    "length": tf.TensorSpec([None], tf.int32),
                },
            ),
        },
    )


def save_tf1(base_path: str | Path, version: int, *, num_features: int = 4) -> str:
    """A TF1 graph with a session's variables: `x` float32 [None, k] -> `y` [None], and `argmax`."""
    tf = import_tensorflow()
    v1 = tf.compat.v1
    path = _version_path(base_path, version)
    with v1.Graph().as_default(), v1.Session() as session:
        features = v1.placeholder(tf.float32, [None, num_features], name="features")
        weights = v1.get_variable(
            "weights", initializer=np.linspace(-1, 1, num_features, dtype=np.float32)
        )
        score = tf.reduce_sum(features * weights, axis=1, name="score")
        best = tf.argmax(features, axis=1, name="best")
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(
            session, path, inputs={"x": features}, outputs={"y": score, "argmax": best}
        )
    return path


def save_keras_sequential(base_path: str | Path, version: int, *, num_features: int = 4) -> str:
    """A Keras export, whose tensors Keras names: `keras_tensor*` [None, k] -> `output_0` [None, 2]."""
    keras = _keras()
    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((num_features,)), layers.Dense(8, "relu"), layers.Dense(2)]
    )
    return _export(model, base_path, version)


def save_keras_functional(base_path: str | Path, version: int, names: Sequence[str]) -> str:
    """A Keras export with named inputs: each of `names` float32 [None, 1] -> `probability` [None, 1]."""
    keras = _keras()
    inputs = {name: keras.Input((1,), name=name) for name in names}
    joined = keras.layers.Concatenate()(list(inputs.values()))
    output = keras.layers.Dense(1, "sigmoid", name="probability")(joined)
    return _export(keras.Model(inputs, {"probability": output}), base_path, version)


def _keras() -> Any:
    import_tensorflow()
    import keras

    keras.utils.set_random_seed(0)
    return keras


def _export(model: Any, base_path: str | Path, version: int) -> str:
    path = _version_path(base_path, version)
    model.export(path, verbose=False)
    return path


def only_input(path: str) -> str:
    """Returns the name of the one input that `serving_default` takes."""
    names = list(load(path).signatures["serving_default"].structured_input_signature[1])
    if len(names) != 1:
        raise ValueError(f"{path} takes {names}, not one input")
    return str(names[0])


def save_probability(base_path: str | Path, version: int, *, num_features: int = 4) -> str:
    """`features` float32 [None, k] -> `probability` [None] and `logit` [None]; weights by version.

    Versions are alike: their weights are the first version's, with noise that grows with them.
    """
    tf = import_tensorflow()
    weights = np.random.default_rng(1).normal(size=(num_features, 1))
    noise = np.random.default_rng(version).normal(size=weights.shape) * 0.2 * (version - 1)
    kernel = tf.Variable((weights + noise).astype(np.float32))

    def call(features):
        logit = tf.squeeze(features @ kernel, axis=1)
        return {"probability": tf.sigmoid(logit), "logit": logit}

    specs = {"features": tf.TensorSpec([None, num_features], tf.float32)}
    return save_signatures(base_path, version, {"serving_default": (call, specs)}, [kernel])


def save_classes(base_path: str | Path, version: int, *, num_classes: int = 3) -> str:
    """`features` float32 [None, 4] -> `probabilities` [None, classes]; weights by version."""
    tf = import_tensorflow()
    weights = np.random.default_rng(version).normal(size=(4, num_classes)).astype(np.float32)
    kernel = tf.Variable(weights)

    def call(features):
        return {"probabilities": tf.nn.softmax(features @ kernel)}

    specs = {"features": tf.TensorSpec([None, 4], tf.float32)}
    return save_signatures(base_path, version, {"serving_default": (call, specs)}, [kernel])


def save_choosy(base_path: str | Path, version: int, *, limit: float) -> str:
    """`features` float32 [None, 4] -> `probability` [None]; fails on rows whose first one is larger."""
    tf = import_tensorflow()

    def call(features):
        checked = tf.debugging.assert_less(features[:, 0], limit, "the first is too large")
        with tf.control_dependencies([checked]):
            return {"probability": tf.sigmoid(features[:, 0] + 0.1 * version)}

    specs = {"features": tf.TensorSpec([None, 4], tf.float32)}
    return save_signatures(base_path, version, {"serving_default": (call, specs)})


def save_classifier(base_path: str | Path, version: int, names: Sequence[str]) -> str:
    """`inputs` float32 [None, 4] -> `classes` and `scores` [None, n]; scores depend on names alone."""
    tf = import_tensorflow()
    weights = np.stack([np.random.default_rng(len(each)).normal(size=4) for each in names], axis=1)
    kernel = tf.Variable(weights.astype(np.float32))

    def call(inputs):
        scores = tf.nn.softmax(inputs @ kernel)
        return {"classes": tf.repeat([list(names)], tf.shape(inputs)[0], axis=0), "scores": scores}

    specs = {"inputs": tf.TensorSpec([None, 4], tf.float32)}
    return save_signatures(base_path, version, {"serving_default": (call, specs)}, [kernel])

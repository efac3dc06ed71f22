"""Evaluations of models that say which class each of their scores is of."""

import json

import numpy as np
import pyarrow as pa
import pytest

from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from tests.evaluation_jobs import evaluate, labelled_table, write_data
from tests.models import call_model, save_signatures

_CLASSES = ("cat", "dog", "eel")


def _save(base_path, version, classes):
    """Saves `inputs` -> `scores` and `classes` in an order of the version's own."""
    tf = import_tensorflow()
    order = [_CLASSES.index(each) for each in classes]

    def call(inputs):
        logits = tf.stack([inputs, version * inputs + 0.1, -inputs], axis=1)
        scores = tf.gather(tf.nn.softmax(logits), order, axis=1)
        return {"scores": scores, "classes": tf.tile([list(classes)], [tf.shape(inputs)[0], 1])}

    specs = {"inputs": tf.TensorSpec([None], tf.float32)}
    return save_signatures(base_path, version, {"serving_default": (call, specs)})


def _data(directory, labels):
    table = labelled_table(300)
    inputs = table["amount"].cast(pa.float32())
    return inputs.to_numpy(), write_data(
        directory,
        pa.table(
            {"id": table["id"], "inputs": inputs, "pet": [labels[row % 3] for row in range(300)]}
        ),
    )


@pytest.mark.parametrize("flags", [(), ("--method=classify",)])
def test_classes_are_aligned_by_name(tmp_path, flags):
    """Versions may order their classes differently; labels are names of classes."""
    base_path = tmp_path / "pets"
    paths = [_save(base_path, 1, _CLASSES), _save(base_path, 2, ("eel", "dog", "cat"))]
    inputs, data = _data(tmp_path / "data", _CLASSES)
    output = tmp_path / "out"
    flags = ["--model_version=all", "--example_key=id", *flags]
    assert evaluate(base_path, data, output, *flags, label="pet") == 0
    found = {
        each["version"]: each["value"]
        for each in json.loads((output / "metrics.json").read_text())["metrics"]
        if each["metric"] == "accuracy" and not each["is_difference"] and not each["slice"]
    }
    labels = np.array(_CLASSES)[np.arange(300) % 3]
    for version, path in enumerate(paths, start=1):
        answer = call_model(path, inputs=inputs)
        best = answer["scores"].argmax(axis=1)
        decided = answer["classes"][np.arange(300), best].astype(str)
        assert found[version] == pytest.approx((decided == labels).mean(), abs=1e-12)
    assert found[1] != found[2]


def test_other_classes_are_refused(tmp_path, capsys):
    """Versions with other classes cannot be compared, which is told before anything is run."""
    base_path = tmp_path / "pets"
    _save(base_path, 1, _CLASSES)
    tf = import_tensorflow()

    def call(inputs):
        names = tf.tile([["cat", "dog", "fox"]], [tf.shape(inputs)[0], 1])
        return {"scores": tf.nn.softmax(tf.stack([inputs] * 3, axis=1)), "classes": names}

    specs = {"inputs": tf.TensorSpec([None], tf.float32)}
    save_signatures(base_path, 2, {"serving_default": (call, specs)})
    _, data = _data(tmp_path / "data", _CLASSES)
    code = evaluate(base_path, data, tmp_path / "out", "--model_version=all", label="pet")
    assert code == 2
    assert "versions 1 and 2 have different classes" in capsys.readouterr().err

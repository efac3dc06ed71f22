"""Models that count their calls, so that a test sees how a model was warmed up."""

import numpy as np

from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from tests.models import save_signatures


def save_counting(base_path, version=1):
    """Writes a model whose every call is counted.

    `serving_default` and `other` take `x` float32 [None, 3], `examples` and `more_examples` take
    serialized Examples with a float `x`. Each adds the sum of all `x` to `total`, its rows to `rows`
    and 1 to its `calls`; signature `read` tells, as do the outputs of the others.
    """
    tf = import_tensorflow()
    names = ("serving_default", "other", "examples", "more_examples")
    calls = tf.Variable(tf.zeros([len(names)], tf.int64))
    rows = tf.Variable(np.int64(0))
    total = tf.Variable(np.float32(0))

    def counted(name, values):
        index = names.index(name)
        with tf.control_dependencies([values]):  # what cannot be parsed does not count
            updates = [
                calls.scatter_nd_add([[index]], tf.constant([1], tf.int64)),
                rows.assign_add(tf.shape(values, tf.int64)[0]),
                total.assign_add(tf.reduce_sum(values)),
            ]
        with tf.control_dependencies(updates):
            return {"calls": calls.read_value(), "same": tf.identity(values)}

    def dense(name):
        spec = {"x": tf.TensorSpec([None, 3], tf.float32)}
        return lambda x: counted(name, x), spec

    def parsing(name):
        features = {"x": tf.io.FixedLenFeature([], tf.float32)}

        def call(examples):
            return counted(name, tf.io.parse_example(examples, features)["x"])

        return call, {"examples": tf.TensorSpec([None], tf.string)}

    def read(nothing):
        with tf.control_dependencies([nothing]):
            return {"calls": calls.read_value(), "rows": rows.read_value(), "total": total + 0}

    signatures = {name: dense(name) for name in names[:2]}
    signatures |= {name: parsing(name) for name in names[2:]}
    signatures["read"] = (read, {"nothing": tf.TensorSpec([], tf.float32)})
    return save_signatures(base_path, version, signatures, [calls, rows, total])


def read_counts(bundle):
    """Returns how often a counting model was called, by signature, with all rows and their sum."""
    outputs = bundle.predict("read", {"nothing": np.float32(0)}, ["calls", "rows", "total"])
    names = ("serving_default", "other", "examples", "more_examples")
    calls = dict(zip(names, outputs["calls"].tolist(), strict=True))
    called = {name: count for name, count in calls.items() if count}
    return called, int(outputs["rows"]), float(outputs["total"])

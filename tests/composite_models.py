"""Small SavedModels that take and return ragged and sparse tensors, as every kind of exporter saves them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow


def save_composite(base_path: str | Path, version: int) -> str:
    """Signatures that take lists of any length; `version` is added to what they return.

    `serving_default`: `x` ragged float32 [None, None] and `bias` float32 [None] -> `total` [None],
    `num` int64 [None], `doubled` ragged as `x`, and `padded` [None, None], which is as wide as the
    longest row of the call. Fails on values of 1000.
    `words`: `words` ragged string -> `joined` string [None], `upper` ragged.
    `sparse`: `ids` sparse int64 [None, 10] -> `sum` [None], `dense` [None, 10], `kept` sparse.
    `open`: `ids` sparse float32 [None, None] -> `sum` [None], `dense` [None, None].
    `boxes`: `boxes` ragged float32 [None, None, 2], int32 splits -> `area` [None], `moved` as `boxes`.
    `triples`: `x` ragged float32 [None, 3] -> `total` [None].
    `nested`: `x` ragged int64 [None, None, None] -> `num` [None].
    """
    tf = import_tensorflow()
    ragged, sparse = tf.RaggedTensorSpec, tf.SparseTensorSpec
    rows = [None, None]

    class Model(tf.Module):
        @tf.function(
            input_signature=[ragged(rows, tf.float32), tf.TensorSpec([None], tf.float32, "bias")]
        )
        def score(self, x: Any, bias: Any) -> Mapping[str, Any]:
            checked = tf.debugging.assert_less(x.values, 1000.0, "values are below 1000")
            with tf.control_dependencies([checked]):
                total = tf.reduce_sum(x, axis=1) + bias + version
            return {
                "total": total,
                "num": x.row_lengths(),
                "doubled": 2 * x,
                "padded": x.to_tensor(-1.0) + version,
            }

        @tf.function(input_signature=[ragged(rows, tf.string)])
        def join(self, words: Any) -> Mapping[str, Any]:
            joined = tf.strings.reduce_join(words, axis=1, separator=" ")
            upper = tf.ragged.map_flat_values(tf.strings.upper, words)
            return {"joined": joined, "upper": upper}

        @tf.function(input_signature=[sparse([None, 10], tf.int64)])
        def sum_sparse(self, ids: Any) -> Mapping[str, Any]:
            dense = tf.sparse.to_dense(ids)
            return {"sum": tf.reduce_sum(dense, axis=1) + version, "dense": dense, "kept": ids}

        @tf.function(input_signature=[sparse(rows, tf.float32)])
        def sum_open(self, ids: Any) -> Mapping[str, Any]:
            dense = tf.sparse.to_dense(ids)
            return {"sum": tf.reduce_sum(dense, axis=1) + version, "dense": dense}

        @tf.function(
            input_signature=[
                ragged([*rows, 2], tf.float32, ragged_rank=1, row_splits_dtype=tf.int32)
            ]
        )
        def move(self, boxes: Any) -> Mapping[str, Any]:
            areas = boxes.with_values(boxes.values[:, 0] * boxes.values[:, 1])
            return {"area": tf.reduce_sum(areas, axis=1) + version, "moved": boxes + version}

        @tf.function(input_signature=[ragged([None, 3], tf.float32, ragged_rank=1)])
        def add(self, x: Any) -> Mapping[str, Any]:
            return {"total": tf.reduce_sum(x, axis=1) + version}

        @tf.function(input_signature=[ragged([*rows, None], tf.int64)])
        def count(self, x: Any) -> Mapping[str, Any]:
            return {"num": x.nested_row_lengths()[0]}

    model = Model()
    functions = {
        "serving_default": model.score,
        "words": model.join,
        "sparse": model.sum_sparse,
        "open": model.sum_open,
        "boxes": model.move,
        "triples": model.add,
        "nested": model.count,
    }
    path = str(Path(base_path) / str(version))
    tf.saved_model.save(model, path, signatures=functions)
    return path


def save_session_composite(base_path: str | Path, version: int) -> str:
    """A TF1 graph: `ids` sparse float32 [None, 10] and `tags` ragged int64 -> `sum`, `num` [None]."""
    tf = import_tensorflow()
    v1 = tf.compat.v1
    path = str(Path(base_path) / str(version))
    with v1.Graph().as_default(), v1.Session() as session:
        ids = v1.sparse_placeholder(tf.float32, [None, 10], name="ids")
        tags = v1.ragged.placeholder(tf.int64, 1, name="tags")
        outputs = {"sum": tf.reduce_sum(tf.sparse.to_dense(ids), 1), "num": tags.row_lengths()}
        v1.saved_model.simple_save(
            session, path, inputs={"ids": ids, "tags": tags}, outputs=outputs
        )
    return path


def save_untold(base_path: str | Path, version: int) -> str:
    """`x` ragged float32 -> `total`; the function is exported, but not kept by the module."""
    tf = import_tensorflow()

    def total(x: Any) -> Mapping[str, Any]:
        return {"total": tf.reduce_sum(x, axis=1)}

    function = tf.function(total).get_concrete_function(x=tf.RaggedTensorSpec([None, None]))
    path = str(Path(base_path) / str(version))
    tf.saved_model.save(tf.Module(), path, signatures=function)
    return path


def save_lists(base_path: str | Path, version: int) -> str:
    """A dense model whose function takes a list: `pair` float32, `pair_1` int64 [None] -> `sum` [None]."""
    tf = import_tensorflow()

    class Model(tf.Module):
        @tf.function
        def add(self, pair: Any) -> Mapping[str, Any]:
            return {"sum": pair[0] + tf.cast(pair[1], tf.float32)}

    model = Model()
    specs = [tf.TensorSpec([None], tf.float32), tf.TensorSpec([None], tf.int64)]
    path = str(Path(base_path) / str(version))
    tf.saved_model.save(model, path, signatures=model.add.get_concrete_function(specs))
    return path

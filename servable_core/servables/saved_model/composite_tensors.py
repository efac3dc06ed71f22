"""Rows as the ragged and sparse tensors that a model takes, and those that it returns as rows."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from servable_core.batching.ragged_array import RaggedArray
from servable_core.errors import FailedPreconditionError, InvalidArgumentError
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from servable_core.servables.signature import Encoding, SignatureSpec, TensorSpec


def to_parts(signature: SignatureSpec, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns what the model's function takes: each `RaggedArray` in parts, all else as it is.

    Raises:
        InvalidArgumentError: An input is given so that is neither ragged nor sparse, or a row is longer
            than it may be.
    """
    if not any(isinstance(value, RaggedArray) for value in inputs.values()):
        return inputs
    specs = {each.name: each for each in signature.inputs}
    parts: dict[str, Any] = {}
    for name, value in inputs.items():
        if isinstance(value, RaggedArray):
            parts.update(_parts(signature, specs.get(name), name, value))
        else:
            parts[name] = value
    return parts


def _parts(
    signature: SignatureSpec, spec: TensorSpec | None, name: str, rows: RaggedArray
) -> dict[str, np.ndarray]:
    if spec is None or not spec.parts:
        raise InvalidArgumentError(
            f"signature {signature.name!r} got rows of different lengths for {spec or name}, which is neither ragged nor sparse; pad them"
        )
    is_sparse = spec.encoding is Encoding.SPARSE
    values = sparse_parts(rows, spec.row_width) if is_sparse else ragged_parts(rows)
    return {
        part.name: value if part.dtype == "string" else value.astype(part.dtype, copy=False)
        for part, value in zip(spec.parts, values, strict=True)
    }


def ragged_parts(rows: RaggedArray) -> tuple[np.ndarray, np.ndarray]:
    """Returns values and row splits of a ragged tensor of these rows."""
    start, stop = rows.offsets[0], rows.offsets[-1]
    return rows.values[start:stop], rows.offsets - start


def sparse_parts(rows: RaggedArray, width: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns indices, values and dense shape of a sparse tensor that has each row's values in front.

    Args:
        rows: The rows.
        width: Of the tensor; None for that of the longest row.

    Raises:
        InvalidArgumentError: A row is longer.
    """
    values, splits = ragged_parts(rows)
    lengths = rows.lengths
    longest = int(lengths.max(initial=0))
    if width is not None and longest > width:
        raise InvalidArgumentError(
            f"rows of a sparse tensor of width {width} must have at most {width} values, got {longest}"
        )
    numbers = np.repeat(np.arange(len(rows)), lengths)
    places = np.arange(len(values)) - splits[numbers]
    indices = np.stack([numbers, places], axis=1)
    return indices, values, np.array([len(rows), longest if width is None else width])


def to_array(tensor: Any) -> np.ndarray | RaggedArray:
    """Returns an output's values: those of a ragged tensor by rows, those of a sparse one with zeros.

    Raises:
        FailedPreconditionError: The tensor has lists of lists.
    """
    tf = import_tensorflow()
    if isinstance(tensor, tf.RaggedTensor):
        if tensor.ragged_rank > 1:
            raise FailedPreconditionError(
                f"an output is ragged in {tensor.ragged_rank} dimensions; leave it out with --output_tensors"
            )
        return RaggedArray(_to_numpy(tensor.values), tensor.row_splits.numpy().astype(np.int64))
    if isinstance(tensor, tf.SparseTensor):
        tensor = tf.sparse.to_dense(tf.sparse.reorder(tensor))
    return _to_numpy(tensor)


def _to_numpy(tensor: Any) -> np.ndarray:
    array: np.ndarray = tensor.numpy()
    if array.dtype.name == "bfloat16":  # Arrow has no such type; float32 holds every value of it
        return array.astype(np.float32)
    return array

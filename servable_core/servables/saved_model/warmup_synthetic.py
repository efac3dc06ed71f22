"""Calls with made-up inputs, one for each batch size that a model will be asked with."""

from collections.abc import Mapping, Sequence

import numpy as np

from servable_core.batching.ragged_array import RaggedArray
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from servable_core.servables.saved_model.warmup_calls import WarmupCall
from servable_core.servables.signature import SignatureSpec, TensorSpec

_WITHOUT_ZERO = frozenset({"composite", "resource", "variant"})


def synthetic_calls(
    signatures: Mapping[str, SignatureSpec], batch_sizes: Sequence[int]
) -> list[WarmupCall]:
    """Returns calls of each signature at each batch size, with zeros and empty strings.

    The first dimension is the batch size, unless the signature fixes it; inner dimensions of any
    size are 1, and lists have one value. Signatures with inputs that have no zero are left out.
    """
    return [
        WarmupCall(
            signature_name=name,
            inputs={each.name: _zeros(each, batch_size) for each in spec.inputs},
        )
        for name, spec in signatures.items()
        if not any(each.dtype in _WITHOUT_ZERO for each in spec.inputs)
        for batch_size in batch_sizes
    ]


def _zeros(spec: TensorSpec, batch_size: int) -> np.ndarray | RaggedArray:
    if not spec.is_dense:
        return _zero_lists(spec, batch_size)
    shape = _concrete_shape(spec.shape, batch_size)
    return _filled(shape, spec.dtype)


def _zero_lists(spec: TensorSpec, batch_size: int) -> RaggedArray:
    """Returns lists of one value, or of as many as all must have."""
    size = spec.row_width or 1
    inner = [each or 1 for each in (spec.shape or ())[2:]]
    offsets = np.arange(batch_size + 1, dtype=np.int64) * size
    return RaggedArray(_filled((batch_size * size, *inner), spec.dtype), offsets)


def _filled(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    if dtype == "string":
        return np.full(shape, b"", object)
    return np.zeros(shape, import_tensorflow().dtypes.as_dtype(dtype).as_numpy_dtype)


def _concrete_shape(shape: tuple[int | None, ...] | None, batch_size: int) -> tuple[int, ...]:
    if shape is None:
        return (batch_size,)
    free_sizes = [batch_size, *[1] * len(shape)]
    return tuple(
        free if size is None else size for size, free in zip(shape, free_sizes, strict=False)
    )

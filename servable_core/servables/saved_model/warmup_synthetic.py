"""Calls with made-up inputs, one for each batch size that a model will be asked with."""

from collections.abc import Mapping, Sequence

import numpy as np

from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from servable_core.servables.saved_model.warmup_calls import WarmupCall
from servable_core.servables.signature import SignatureSpec, TensorSpec

_WITHOUT_ZERO = frozenset({"composite", "resource", "variant"})


def synthetic_calls(
    signatures: Mapping[str, SignatureSpec], batch_sizes: Sequence[int]
) -> list[WarmupCall]:
    """Returns calls of each signature at each batch size, with zeros and empty strings.

    The first dimension is the batch size, unless the signature fixes it; inner dimensions of any
    size are 1. Signatures with inputs that have no zero are left out.
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


def _zeros(spec: TensorSpec, batch_size: int) -> np.ndarray:
    shape = _concrete_shape(spec.shape, batch_size)
    if spec.dtype == "string":
        return np.full(shape, b"", object)
    return np.zeros(shape, import_tensorflow().dtypes.as_dtype(spec.dtype).as_numpy_dtype)


def _concrete_shape(shape: tuple[int | None, ...] | None, batch_size: int) -> tuple[int, ...]:
    if shape is None:
        return (batch_size,)
    free_sizes = [batch_size, *[1] * len(shape)]
    return tuple(
        free if size is None else size for size, free in zip(shape, free_sizes, strict=False)
    )

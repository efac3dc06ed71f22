"""The inputs of each row as a client that asks for one row at a time would send them."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from servable_core.batching.padding import Derivation, DerivedInput
from servable_core.batching.ragged_array import RaggedArray


def logged_inputs(inputs: Mapping[str, Any], derived: Iterable[DerivedInput]) -> dict[str, Any]:
    """Returns what was submitted, with what batching adds when it pads.

    A row alone needs no padding, so its mask is all ones, and its length is that of its own values.

    Args:
        inputs: Arrays, RaggedArrays or tensors by input name, as submitted.
        derived: The inputs that batching makes.
    """
    logged = dict(inputs)
    for each in derived:
        logged[each.name] = _derived(each, inputs[each.of])
    return logged


def _derived(derived: DerivedInput, source: Any) -> Any:
    if derived.derivation is Derivation.LENGTHS:
        return _lengths(source).astype(derived.dtype)
    if isinstance(source, RaggedArray):
        return RaggedArray(np.ones(len(source.values), derived.dtype), source.offsets)
    return np.ones(source.shape[:2], derived.dtype)


def _lengths(source: Any) -> np.ndarray:
    if isinstance(source, RaggedArray):
        return source.lengths
    return np.full(source.shape[0], source.shape[1])

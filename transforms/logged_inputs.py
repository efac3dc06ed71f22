"""The inputs of each row as a client that asks for one row at a time would send them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from servable_core.batching.padding import Derivation, DerivedInput
from servable_core.batching.ragged_array import RaggedArray
from servable_core.servables.saved_model.composite_tensors import ragged_parts
from servable_core.servables.signature import Encoding, TensorSpec


def logged_inputs(
    inputs: Mapping[str, Any], derived: Iterable[DerivedInput], tensors: Iterable[TensorSpec] = ()
) -> dict[str, Any]:
    """Returns what was submitted, with what batching adds when it pads.

    A row alone needs no padding, so its mask is all ones, and its length is that of its own values.

    Args:
        inputs: Arrays, RaggedArrays or tensors by input name, as submitted.
        derived: The inputs that batching makes.
        tensors: The signature's inputs, of which those that are ragged or sparse are sent in parts.
    """
    logged = dict(inputs)
    for each in derived:
        logged[each.name] = _derived(each, inputs[each.of])
    for tensor in tensors:
        if not tensor.is_dense:
            logged |= logged_parts(logged.pop(tensor.name), tensor)
    return logged


@dataclass(frozen=True, slots=True)
class PartRows:
    """A part of a ragged or sparse tensor for each row: one without a batch dimension.

    Attributes:
        rows: The part's values for each row.
    """

    rows: RaggedArray

    def __getitem__(self, rows: slice) -> "PartRows":
        return PartRows(self.rows[rows])


def logged_parts(rows: RaggedArray, tensor: TensorSpec) -> dict[str, PartRows]:
    """Returns the parts that a ragged or sparse input is fed by, as if each row were asked for alone."""
    values, splits = ragged_parts(rows)
    lengths = np.diff(splits)
    if tensor.encoding is Encoding.SPARSE:
        places = np.arange(len(values)) - np.repeat(splits[:-1], lengths)
        indices = np.stack([np.zeros_like(places), places], axis=1)
        widths = lengths if tensor.row_width is None else np.full_like(lengths, tensor.row_width)
        parts = [RaggedArray(indices, splits), RaggedArray(values, splits), _pairs(1, widths)]
    else:
        parts = [RaggedArray(values, splits), _pairs(0, lengths)]
    return {
        spec.name: PartRows(_cast(part, spec.dtype))
        for spec, part in zip(tensor.parts, parts, strict=True)
    }


def _pairs(first: int, seconds: np.ndarray) -> RaggedArray:
    values = np.stack([np.full_like(seconds, first), seconds], axis=1).reshape(-1)
    return RaggedArray(values, 2 * np.arange(len(seconds) + 1))


def _cast(rows: RaggedArray, dtype: str) -> RaggedArray:
    if dtype == "string":
        return rows
    return RaggedArray(rows.values.astype(dtype, copy=False), rows.offsets)


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

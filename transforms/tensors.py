"""Arrow columns to the arrays that a signature takes; zero copies where the layout allows."""

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from servable_core.batching.ragged_array import RaggedArray
from servable_core.errors import InvalidArgumentError
from servable_core.servables.signature import Encoding
from transforms.binding import Binding, BoundInput
from transforms.casts import as_stored, cast_values
from transforms.formats.example_bytes import to_examples
from transforms.input_batch import InputBatch

_EXAMPLE_REMEDY = "change it with --preprocess, or leave the column out with --input_map"


def to_tensors(batch: InputBatch, binding: Binding) -> dict[str, Any]:
    """Returns one array or string tensor for each input, with the batch as first dimension.

    Inputs that are padded, ragged or sparse come as `RaggedArray`s; those derived from them do not
    come at all, for they are made when batches are padded.

    Raises:
        InvalidArgumentError: A null, a list of another length, or a value that does not fit.
    """
    return {
        each.tensor.name: _to_ragged(batch, each) if each.is_ragged else _to_tensor(batch, each)
        for each in binding.inputs
        if each.derivation is None
    }


def _to_ragged(batch: InputBatch, bound: BoundInput) -> RaggedArray:
    name = bound.columns[0]
    array = batch.columns.column(name)
    _check_no_nulls(array, name, batch)
    array = _as_lists(array)
    offsets = array.offsets.to_numpy().astype(np.int64)
    offsets -= offsets[0]
    items = array.flatten()
    _check_no_nulls(items, name, batch, offsets)
    flat = _flat(items, name, batch, bound)
    if len(items):
        offsets *= len(flat) // len(items)  # an item may be a list itself
    _check_no_nulls(flat, name, batch, offsets)
    values = _values(flat, name, batch, bound)
    inner = bound.row_shape[1:]
    rows = (
        _with_inner_shape(values, offsets, inner, bound) if inner else RaggedArray(values, offsets)
    )
    if not bound.tensor.is_dense:
        _check_widths(rows, batch, bound)
    return rows


def _as_lists(array: pa.Array) -> pa.Array:
    """Returns a column of lists: of a single value each where it has none."""
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        return array
    if pa.types.is_fixed_size_list(array.type):
        size, values = array.type.list_size, array.flatten()
    else:
        size, values = 1, array
    offsets = pa.array(np.arange(len(array) + 1, dtype=np.int64) * size)
    return pa.LargeListArray.from_arrays(offsets, values)


def _check_widths(rows: RaggedArray, batch: InputBatch, bound: BoundInput) -> None:
    width, is_sparse = bound.tensor.row_width, bound.tensor.encoding is Encoding.SPARSE
    if width is None:
        return
    lengths = rows.lengths
    wrong = np.flatnonzero(lengths > width if is_sparse else lengths != width)
    if len(wrong):
        raise InvalidArgumentError(
            f"column {bound.columns[0]!r} has {lengths[wrong[0]]} values at {batch.locate(int(wrong[0]))}, but {bound.tensor} takes {'at most ' if is_sparse else ''}{width} a row; cut or fill the lists with --preprocess, or export a signature of another width"
        )


def _with_inner_shape(
    values: np.ndarray, offsets: np.ndarray, inner: tuple[int, ...], bound: BoundInput
) -> RaggedArray:
    size = math.prod(inner)
    if size < 1 or (offsets % size).any():
        raise InvalidArgumentError(
            f"column {bound.columns[0]!r} has lists whose number of values is no multiple of {size}, which {bound.tensor} needs"
        )
    return RaggedArray(values.reshape(-1, *inner), offsets // size)


def _to_tensor(batch: InputBatch, bound: BoundInput) -> Any:
    if bound.takes_records:
        return batch.records
    if bound.as_example:
        columns = batch.columns.select(list(bound.columns))
        return _bytes_values(to_examples(columns, _EXAMPLE_REMEDY))
    if len(bound.columns) == 1:
        values = _column_values(batch, bound.columns[0], bound)
    else:
        values = _stack(batch, bound)
    if batch.num_rows == 0:
        return values.reshape(0, *(max(size, 0) for size in bound.row_shape))
    return _reshape(values, batch.num_rows, bound)


def _reshape(values: np.ndarray, num_rows: int, bound: BoundInput) -> np.ndarray:
    try:
        return values.reshape(num_rows, *bound.row_shape)
    except ValueError as error:
        raise InvalidArgumentError(
            f"column {bound.columns[0]!r} has {values.size / num_rows:g} values a row, which is no {bound.tensor}"
        ) from error


def _stack(batch: InputBatch, bound: BoundInput) -> np.ndarray:
    dtype = object if bound.tensor.dtype == "string" else bound.tensor.dtype
    stacked = np.empty((batch.num_rows, len(bound.columns)), dtype)
    for index, name in enumerate(bound.columns):
        stacked[:, index] = _column_values(batch, name, bound)
    return stacked


def _column_values(batch: InputBatch, name: str, bound: BoundInput) -> np.ndarray:
    return _values(_flat(batch.columns.column(name), name, batch, bound), name, batch, bound)


def _values(array: pa.Array, name: str, batch: InputBatch, bound: BoundInput) -> np.ndarray:
    _check_no_nulls(array, name, batch)
    if bound.tensor.dtype == "string":
        return _bytes_values(array)
    zero_copy = not pa.types.is_boolean(array.type)  # Arrow packs booleans as bits
    values = as_stored(array).to_numpy(zero_copy_only=zero_copy)
    return cast_values(values, bound.tensor.dtype, f"column {name!r}")


def _flat(array: pa.Array, name: str, batch: InputBatch, bound: BoundInput) -> pa.Array:
    """Returns the values of one column, lists and dictionaries resolved."""
    if pa.types.is_dictionary(array.type):
        return array.dictionary_decode()
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        _check_no_nulls(array, name, batch)
        lengths = pc.unique(pc.list_value_length(array))
        if len(lengths) > 1:
            raise InvalidArgumentError(
                f"column {name!r} has lists of different lengths ({lengths[0]} and {lengths[1]} values), but the model takes a dense tensor; {_length_remedy(name, bound)}"
            )
        return _flat(array.flatten(), name, batch, bound)
    if pa.types.is_fixed_size_list(array.type):
        _check_no_nulls(array, name, batch)
        return _flat(array.flatten(), name, batch, bound)
    return array


def _length_remedy(name: str, bound: BoundInput) -> str:
    if bound.is_ragged or bound.row_shape[:1] != (-1,):
        return "make them alike with --preprocess"
    return f"have them padded, with --input_map=TENSOR=mask({name}) or TENSOR=len({name}) where the model has such an input, or with --pad_variable_length_inputs"


def _check_no_nulls(
    array: pa.Array, name: str, batch: InputBatch, offsets: np.ndarray | None = None
) -> None:
    """Checks a column, or the values of its lists: row i has those from `offsets[i]` on.

    Without `offsets` all rows have the same number of them.
    """
    if array.null_count:
        index = pc.index(pc.is_null(array), True).as_py()
        if offsets is None:
            first = index * batch.num_rows // len(array)
        else:
            first = int(np.searchsorted(offsets, index, side="right")) - 1
        raise InvalidArgumentError(
            f"column {name!r} has {array.null_count} nulls in a batch of {batch.num_rows}, the first at {batch.locate(first)}, but a tensor has none; fill them with --on_null=default:VALUE or --preprocess"
        )


def _bytes_values(array: pa.Array) -> np.ndarray:
    is_large = pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)
    as_bytes = array.cast(pa.large_binary() if is_large else pa.binary())
    values: np.ndarray = as_bytes.to_numpy(zero_copy_only=False)
    return values

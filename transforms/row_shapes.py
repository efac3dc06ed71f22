"""Which lists are the rows of which tensors."""

import math

import pyarrow as pa

from servable_core.servables.signature import TensorSpec


def value_type(data_type: pa.DataType) -> pa.DataType:
    """Returns the type of the values in lists, of those that a dictionary stands for, or the type."""
    if list_length(data_type) is not None:
        return value_type(data_type.value_type)
    if pa.types.is_dictionary(data_type):
        return data_type.value_type
    return data_type


def list_length(data_type: pa.DataType) -> int | None:
    """Returns the values per row of a list type, -1 if they vary, None for scalars."""
    if pa.types.is_fixed_size_list(data_type):
        inner = list_length(data_type.value_type) or 1
        return int(data_type.list_size) * max(inner, 1)
    return -1 if _is_varying(data_type) else None


def _is_varying(data_type: pa.DataType) -> bool:
    return bool(pa.types.is_list(data_type) or pa.types.is_large_list(data_type))


def fit_row(shape: tuple[int | None, ...] | None, length: int | None) -> tuple[int, ...] | None:
    """Returns the shape of one row, or None when `length` values cannot take that shape.

    A length of -1 means lists whose length only the data tell; those must fill one dimension, which
    -1 stands for in the result.
    """
    if shape is None:
        return () if length is None else (length,)
    sizes = shape[1:]
    if length is None:
        fits = all(size in (None, 1) for size in sizes)
        return (1,) * len(sizes) if fits else None
    known = math.prod(size for size in sizes if size is not None)
    num_unknown = sizes.count(None)
    if not sizes or num_unknown > 1:
        return None
    if length < 0:  # checked batch by batch
        return tuple(-1 if size is None else size for size in sizes)
    if (length != known) if num_unknown == 0 else (known == 0 or length % known):
        return None
    return tuple(length // known if size is None else size for size in sizes)


def fit_list(tensor: TensorSpec, data_type: pa.DataType) -> tuple[int, ...] | None:
    """Returns the shape of one row of a ragged or sparse tensor, whose length is the list's own.

    A single value is a list of one. None for lists of lists of varying length, unless a value of the
    tensor is an array.
    """
    inner = () if tensor.shape is None else tensor.shape[2:]
    if not inner and _is_varying(data_type) and list_length(data_type.value_type) == -1:
        return None
    return (-1, *(size for size in inner if size is not None))


def row_words(data_type: pa.DataType) -> str:
    """Returns in words what one row of this type is."""
    length = list_length(data_type)
    if length is None:
        return "a single value"
    if length >= 0:
        return f"{length} values"
    is_nested = list_length(data_type.value_type) == -1
    return f"a list of {'lists' if is_nested else 'varying length'}"

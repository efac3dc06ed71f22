"""Which Arrow types may feed which tensor types, and what is checked while they do.

Nothing is ever changed silently, with one exception that every online client makes, too: float64
data are rounded to the float32 that models are trained in. Overflow in that rounding is an error.

Times, dates and durations feed int64 inputs, as the whole numbers that they are stored as: counted
in the unit of their type, `timestamp[us]` in microseconds since 1970 in UTC, `date32` in days. Parquet
keeps no seconds: writers turn them into milliseconds.
"""

from enum import Enum

import numpy as np
import pyarrow as pa

from servable_core.errors import InvalidArgumentError


class Cast(Enum):
    """How values are converted, by growing amount of care."""

    SAME = 0
    WIDEN = 1
    CHECKED = 2
    ROUND = 3

    def __str__(self) -> str:
        return {
            Cast.SAME: "",
            Cast.WIDEN: "widened",
            Cast.CHECKED: "cast, each value checked",
            Cast.ROUND: "rounded to the nearest, overflow checked",
        }[self]


def cast_between(source: pa.DataType, dtype: str) -> Cast | None:
    """Returns how values of `source` become tensors of `dtype`, or None when they cannot."""
    if _is_text(source) or dtype == "string":
        return Cast.SAME if _is_text(source) and dtype == "string" else None
    if pa.types.is_temporal(source):
        return _temporal_cast(source, dtype)
    try:
        have, want = np.dtype(source.to_pandas_dtype()), np.dtype(dtype)
    except (NotImplementedError, TypeError):
        return None
    if have == want:
        return Cast.SAME
    if have.kind not in "iufb" or want.kind not in "iufb":
        return None
    return _numeric_cast(have, want)


def _is_text(data_type: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_string(data_type)
        or types.is_large_string(data_type)
        or types.is_string_view(data_type)
        or types.is_binary(data_type)
        or types.is_large_binary(data_type)
        or types.is_binary_view(data_type)
        or types.is_fixed_size_binary(data_type)
    )


def _temporal_cast(source: pa.DataType, dtype: str) -> Cast | None:
    if dtype != "int64" or pa.types.is_interval(source):
        return None
    return Cast.SAME if source.bit_width == 64 else Cast.WIDEN


def as_stored(array: pa.Array) -> pa.Array:
    """Returns times, dates and durations as the integers that they are stored as, uncopied.

    Arrays of other types are returned as they are.
    """
    data_type = array.type
    if not pa.types.is_temporal(data_type) or pa.types.is_interval(data_type):
        return array
    return array.view(pa.int64() if data_type.bit_width == 64 else pa.int32())


def _numeric_cast(have: np.dtype, want: np.dtype) -> Cast | None:
    if have.kind == "f":
        if want.kind != "f":
            return None
        return Cast.WIDEN if want.itemsize > have.itemsize else Cast.ROUND
    if have.kind == "b":
        return Cast.WIDEN
    if want.kind == "f":  # an integer is exact while it fits the mantissa
        return Cast.WIDEN if have.itemsize * 8 <= np.finfo(want).nmant else Cast.CHECKED
    return Cast.WIDEN if np.can_cast(have, want, "safe") else Cast.CHECKED


def cast_values(values: np.ndarray, dtype: str, place: str) -> np.ndarray:
    """Returns `values` as `dtype`; without copying when they are of that type already.

    Args:
        values: Numbers or booleans for which `cast_between` has a cast.
        dtype: What the tensor takes.
        place: Where the values are from, for the message.

    Raises:
        InvalidArgumentError: A value does not survive the cast; the message names it and `place`.
    """
    want = np.dtype(dtype)
    if values.dtype == want:
        return values
    with np.errstate(over="ignore", invalid="ignore"):
        converted = values.astype(want)
        kept = _kept(values, converted, _numeric_cast(values.dtype, want))
    if kept is not None and not kept.all():
        value = values[~kept].ravel()[0]
        raise InvalidArgumentError(f"{place}: the value {value} does not fit {dtype}")
    return converted


def _kept(values: np.ndarray, converted: np.ndarray, cast: Cast | None) -> np.ndarray | None:
    """Returns which values survived; None where all of them do by their types."""
    kept: np.ndarray
    if cast is Cast.ROUND:
        kept = np.isinf(converted) == np.isinf(values)
        return kept
    if cast is not Cast.CHECKED:
        return None
    kept = converted.astype(values.dtype) == values
    if converted.dtype.kind == "f":  # what is out of range comes back as anything, even by luck
        kept &= np.isfinite(converted) & (converted < float(np.iinfo(values.dtype).max) + 1)
    elif converted.dtype.kind != "b":
        kept &= (converted < 0) == (values < 0)
    return kept

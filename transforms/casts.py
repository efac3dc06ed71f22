"""Which Arrow types may feed which tensor types, and what is checked while they do.

Nothing is ever changed silently, with one exception that every online client makes, too: float64
data are rounded to the float32 that models are trained in. Overflow in that rounding is an error.
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
        or types.is_binary(data_type)
        or types.is_large_binary(data_type)
    )


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


def cast_values(values: np.ndarray, dtype: str, cast: Cast, place: str) -> np.ndarray:
    """Returns `values` as `dtype`; without copying when they are of that type already.

    Raises:
        InvalidArgumentError: A value does not survive the cast; the message names it and `place`.
    """
    if cast is Cast.SAME or values.dtype == np.dtype(dtype):
        return values
    with np.errstate(over="ignore", invalid="ignore"):
        converted = values.astype(dtype)
    if cast is Cast.CHECKED:
        _check_all(values, converted.astype(values.dtype) == values, dtype, place)
        if values.dtype.kind != "b" and converted.dtype.kind in "iu":
            _check_all(values, (converted < 0) == (values < 0), dtype, place)
    if cast is Cast.ROUND:
        _check_all(values, np.isinf(converted) == np.isinf(values), dtype, place)
    return converted


def _check_all(values: np.ndarray, kept: np.ndarray, dtype: str, place: str) -> None:
    if not kept.all():
        value = values[~kept].ravel()[0]
        raise InvalidArgumentError(f"{place}: the value {value} does not fit {dtype}")

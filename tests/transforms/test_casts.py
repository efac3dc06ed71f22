import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from servable_core.errors import InvalidArgumentError
from transforms.casts import Cast, as_stored, cast_between, cast_values

_SIGNED = ["int8", "int16", "int32", "int64"]
_UNSIGNED = ["uint8", "uint16", "uint32", "uint64"]
_FLOATS = ["float16", "float32", "float64"]
_ALL = ["bool", *_SIGNED, *_UNSIGNED, *_FLOATS]


def _arrow(dtype):
    return pa.from_numpy_dtype(np.dtype(dtype))


def _edges(dtype):
    """Values at which casts of this type go wrong."""
    kind = np.dtype(dtype).kind
    if kind == "b":
        return [False, True]
    if kind == "f":
        limits = np.finfo(dtype)
        return [0.0, -0.0, 1.5, float(limits.max), float(limits.min), np.inf, -np.inf, np.nan]
    limits = np.iinfo(dtype)
    around = [2**bits + off for bits in (7, 8, 11, 24, 31, 32, 53, 63) for off in (-1, 0, 1)]
    values = [0, 1, limits.min, limits.max, limits.max - 1, *around, *(-each for each in around)]
    return [each for each in values if limits.min <= each <= limits.max]


_VALUES = {
    dtype: st.one_of(st.sampled_from(_edges(dtype)), st_numpy.from_dtype(np.dtype(dtype)))
    for dtype in _ALL
}
_PAIRS = [(have, want) for have in _ALL for want in _ALL]


def _is_kept(value, result):
    """Whether a number is exactly what it was; Python compares across types without rounding."""
    value, result = value.item(), result.item()
    return result == value or (math.isnan(value) and math.isnan(result))


def _expected(values, want, cast):
    """Returns what the cast must give, or None when a value does not survive it."""
    with np.errstate(all="ignore"):
        converted = values.astype(want)
    if cast is Cast.ROUND:
        kept = (np.isinf(converted) == np.isinf(values)).all()
    else:
        kept = all(_is_kept(*each) for each in zip(values, converted, strict=True))
    return converted if kept else None


@pytest.mark.parametrize(
    ("have", "want"),
    [each for each in _PAIRS if cast_between(_arrow(each[0]), each[1]) is not None],
)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_values_are_kept_or_refused(have, want, data):
    """Each value comes through exactly, is rounded between floats only, or is an error."""
    cast = cast_between(_arrow(have), want)
    values = np.array(data.draw(st.lists(_VALUES[have], min_size=1, max_size=5)), have)
    expected = _expected(values, want, cast)
    if expected is None:
        assert cast in (Cast.CHECKED, Cast.ROUND)
        with pytest.raises(
            InvalidArgumentError, match=rf"^here: the value .* does not fit {want}$"
        ):
            cast_values(values, want, "here")
        return
    converted = cast_values(values, want, "here")
    assert converted.dtype == np.dtype(want)
    np.testing.assert_array_equal(converted, expected)


@pytest.mark.parametrize("dtype", _ALL)
def test_same_type_is_not_copied(dtype):
    """Values of the right type are passed through."""
    values = np.zeros(4, dtype)
    assert cast_values(values, dtype, "here") is values


@pytest.mark.parametrize(
    ("value", "have", "want"),
    [
        (-(2**31), "int32", "float16"),  # becomes -inf, which comes back as the same integer
        (-(2**63), "int64", "float16"),
        (2**63 - 1, "int64", "float64"),
        (2**64 - 1, "uint64", "float32"),
        (2**63, "uint64", "int64"),
        (-1, "int8", "uint64"),
        (2**24 + 1, "int32", "float32"),
        (2, "uint8", "bool"),
        (65520.0, "float64", "float16"),
        (1e39, "float64", "float32"),
    ],
)
def test_refused(value, have, want):
    """Values that a careless check would let through are named."""
    values = np.array([0, value], have)
    with pytest.raises(
        InvalidArgumentError, match=rf"^column 'c': the value .* does not fit {want}$"
    ):
        cast_values(values, want, "column 'c'")


def test_matrices_are_checked_everywhere():
    """The value that does not fit is found in any row and column."""
    values = np.zeros((3, 4), np.int64)
    values[2, 1] = 300
    with pytest.raises(InvalidArgumentError, match="the value 300 does not fit uint8"):
        cast_values(values, "uint8", "here")


@pytest.mark.parametrize(
    ("data_type", "stored"),
    [
        *((pa.timestamp(unit), "int64") for unit in ("s", "ms", "us", "ns")),
        *((pa.date32(), "int32"), (pa.date64(), "int64"), (pa.duration("s"), "int64")),
        *((pa.time32("s"), "int32"), (pa.time64("ns"), "int64")),
    ],
)
def test_times_are_counts(data_type, stored):
    """A time is the number that it is stored as, in the unit of its type; slices and nulls, too."""
    counts = pa.array([864000000, None, 86400000, 0], stored)
    times = counts.view(data_type)
    assert as_stored(times).equals(counts)
    assert as_stored(times.slice(2)).equals(counts.slice(2))


def test_other_types_are_stored_as_they_are():
    """What is no time is passed through."""
    numbers = pa.array([1.5])
    assert as_stored(numbers) is numbers


class TestCastBetween:
    @pytest.mark.parametrize(
        ("source", "dtype", "cast"),
        [
            (pa.string(), "string", Cast.SAME),
            (pa.large_string(), "string", Cast.SAME),
            (pa.binary(), "string", Cast.SAME),
            (pa.large_binary(), "string", Cast.SAME),
            (pa.string(), "float32", None),
            (pa.int64(), "string", None),
            (pa.bool_(), "bool", Cast.SAME),
            (pa.bool_(), "float32", Cast.WIDEN),
            (pa.int64(), "bool", Cast.CHECKED),
            (pa.int8(), "int64", Cast.WIDEN),
            (pa.int8(), "uint64", Cast.CHECKED),
            (pa.uint32(), "int64", Cast.WIDEN),
            (pa.int16(), "float32", Cast.WIDEN),
            (pa.int32(), "float32", Cast.CHECKED),
            (pa.int32(), "float64", Cast.WIDEN),
            (pa.int64(), "float64", Cast.CHECKED),
            (pa.float32(), "float64", Cast.WIDEN),
            (pa.float64(), "float32", Cast.ROUND),
            (pa.float16(), "float32", Cast.WIDEN),
            (pa.float32(), "int64", None),
            (pa.string_view(), "string", Cast.SAME),
            (pa.binary_view(), "string", Cast.SAME),
            (pa.binary(4), "string", Cast.SAME),
            (pa.timestamp("s"), "int64", Cast.SAME),
            (pa.timestamp("us", tz="Europe/Berlin"), "int64", Cast.SAME),
            (pa.timestamp("s"), "int32", None),
            (pa.timestamp("s"), "float64", None),
            (pa.date32(), "int64", Cast.WIDEN),
            (pa.date64(), "int64", Cast.SAME),
            (pa.time32("ms"), "int64", Cast.WIDEN),
            (pa.time64("us"), "int64", Cast.SAME),
            (pa.duration("ns"), "int64", Cast.SAME),
            (pa.month_day_nano_interval(), "int64", None),
            (pa.decimal32(5, 2), "float32", None),
            (pa.decimal128(10, 2), "float64", None),
            (pa.null(), "float32", None),
            (pa.struct([("a", pa.int8())]), "float32", None),
            (pa.float32(), "complex64", None),
            (pa.float32(), "resource", None),
        ],
    )
    def test_table(self, source, dtype, cast):
        """The care that each pair of types needs."""
        assert cast_between(source, dtype) is cast

    @pytest.mark.parametrize(
        ("cast", "words"),
        [
            (Cast.SAME, ""),
            (Cast.WIDEN, "widened"),
            (Cast.CHECKED, "cast, each value checked"),
            (Cast.ROUND, "rounded to the nearest, overflow checked"),
        ],
    )
    def test_words(self, cast, words):
        """What users read of a cast."""
        assert str(cast) == words

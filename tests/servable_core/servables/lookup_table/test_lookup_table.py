"""Lookups of many keys at a time."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from servable_core.errors import InvalidArgumentError
from servable_core.servables.lookup_table import LookupTable

_int_keys = st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3)
_text_keys = st.binary(max_size=6) | st.sampled_from([b"", b"\0", b"a", b"a\0", b"a\0\0", b"a\1"])


def _objects(keys: list[bytes]) -> np.ndarray:
    array = np.empty(len(keys), np.object_)
    array[:] = keys
    return array


def _check_as_a_dict(keys: np.ndarray, queries: np.ndarray) -> None:
    rows = {key: row for row, key in enumerate(keys.tolist())}
    table = LookupTable(keys, {"row": np.arange(len(keys)) + 100})

    values, found = table.lookup(queries)

    assert found.tolist() == [key in rows for key in queries.tolist()]
    assert values["row"].tolist() == [
        rows[key] + 100 if key in rows else 0 for key in queries.tolist()
    ]


@settings(deadline=None)  # machines pause
@given(st.lists(_int_keys, unique=True), st.lists(_int_keys))
def test_integer_keys_behave_as_a_dict(keys: list[int], queries: list[int]) -> None:
    """In any order, the smallest and largest numbers included."""
    _check_as_a_dict(np.array(keys, np.int64), np.array(queries + keys[:2], np.int64))


@settings(deadline=None)  # machines pause
@given(st.lists(_text_keys, unique=True), st.lists(_text_keys | st.binary(min_size=9)))
def test_text_keys_behave_as_a_dict(keys: list[bytes], queries: list[bytes]) -> None:
    """Of any bytes: with zeros at the end, empty, and longer than any key."""
    _check_as_a_dict(_objects(keys), _objects(queries + keys[:2]))


@settings(deadline=None)  # machines pause
@given(st_numpy.arrays(np.int32, st_numpy.array_shapes(max_dims=3), elements=st.integers(0, 9)))
def test_any_shape_of_keys_gives_values_of_that_shape(keys: np.ndarray) -> None:
    """Followed by the shape of a value."""
    table = LookupTable(np.arange(5), {"embedding": np.arange(10.0).reshape(5, 2)})

    values, found = table.lookup(keys)

    assert found.shape == keys.shape
    assert values["embedding"].shape == (*keys.shape, 2)
    assert np.array_equal(found, keys < 5)
    assert np.array_equal(values["embedding"][..., 0], np.where(keys < 5, keys * 2.0, 0.0))


@pytest.mark.parametrize(
    "queries",
    [
        np.array(["é", "a", "x"]),
        np.array(["é".encode(), b"a", b"x"]),
        np.array(["é", b"a", "x"], np.object_),
    ],
)
def test_strings_and_bytes_are_the_same_keys(queries: np.ndarray) -> None:
    """Strings as their UTF-8 bytes, in any kind of array."""
    table = LookupTable(np.array(["a", "é"]), {"n": np.array([1, 2])})

    values, found = table.lookup(queries)

    assert values["n"].tolist() == [2, 1, 0]
    assert found.tolist() == [True, True, False]


def test_unsigned_keys_beyond_63_bits_are_not_found() -> None:
    """They do not wrap around to negative ones."""
    table = LookupTable(np.array([-1, 0]), {})

    _, found = table.lookup(np.array([2**64 - 1, 0], np.uint64))

    assert found.tolist() == [False, True]


def test_missing_strings_are_empty_bytes() -> None:
    """As an output of a model would be."""
    table = LookupTable(np.array([1]), {"word": _objects([b"one"])})

    values, _ = table.lookup(np.array([1, 2]))

    assert values["word"].tolist() == [b"one", b""]


def test_an_empty_table_finds_nothing() -> None:
    """It is no mistake to have no rows."""
    table = LookupTable(np.array([], np.int64), {"n": np.array([], np.float32)})

    values, found = table.lookup(np.array([1, 2]))

    assert found.tolist() == [False, False]
    assert values["n"].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (np.array([5, 7, 5]), "key .*5.* comes twice, in rows 0 and 2"),
        (_objects([b"a", b"b", b"b"]), "key b'b' comes twice, in rows 1 and 2"),
        (np.array([1.5, 2.0, 3.0]), "keys must be integers, got float64"),
        (np.array([0, 1, 2**63], np.uint64), "key 9223372036854775808 does not fit"),
        (np.array(["a", 1, b"c"], np.object_), "keys must be strings or bytes, got 1"),
        (_objects([b"a", b"b", b"c" * 2000]), "has 2000 bytes, expected 1024 or less"),
        (np.array([1, 2]), r"column 'n' has the shape \(3,\), expected one row for each of 2 keys"),
        (np.zeros((3, 1), np.int64), "keys must be a list"),
    ],
)
def test_bad_tables_are_refused(keys: np.ndarray, message: str) -> None:
    """A table whose answers depend on the order of its rows is a mistake, not a choice."""
    with pytest.raises(InvalidArgumentError, match=message):
        LookupTable(keys, {"n": np.arange(3)})


@pytest.mark.parametrize(
    ("keys", "queries", "message"),
    [
        (np.array([1]), np.array(["1"]), "keys must be integers, got <U1"),
        (np.array(["1"]), np.array([1]), "keys must be strings or bytes, got int64"),
        (np.array([1]), np.array([1.0]), "keys must be integers, got float64"),
    ],
)
def test_queries_of_another_type_are_refused(
    keys: np.ndarray, queries: np.ndarray, message: str
) -> None:
    """They would find nothing, ever."""
    with pytest.raises(InvalidArgumentError, match=message):
        LookupTable(keys, {}).lookup(queries)


def test_values_cannot_be_changed() -> None:
    """Neither in the table nor through an answer."""
    table = LookupTable(np.array([1]), {"n": np.array([7])})
    values, _ = table.lookup(np.array([1]))
    values["n"][0] = 0

    with pytest.raises(ValueError, match="read-only"):
        table.columns["n"][0] = 0

    assert table.lookup(np.array([1]))[0]["n"].tolist() == [7]
    assert (len(table), table.has_text_keys) == (1, False)
    assert repr(table) == "LookupTable(1 rows, columns n)"


def test_many_threads_look_up_at_a_time() -> None:
    """Nothing in a table changes after it is made."""
    keys = np.random.default_rng(0).permutation(1000)
    table = LookupTable(keys, {"n": keys * 2})

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: table.lookup(np.arange(2000)), range(32)))

    assert all(found.sum() == 1000 for _, found in answers)
    assert all(np.array_equal(values["n"][:1000], np.arange(1000) * 2) for values, _ in answers)

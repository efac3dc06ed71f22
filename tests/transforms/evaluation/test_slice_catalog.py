import datetime as dt
import itertools
import pickle
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servable_core.errors import DataLossError, InvalidArgumentError
from transforms.evaluation import slice_counts
from transforms.evaluation.results import ALL_ROWS
from transforms.evaluation.slice_catalog import SliceCatalog, build_catalog, needs_scan
from transforms.evaluation.slice_counts import SliceCounts
from transforms.evaluation.slices import parse_slice
from transforms.metrics import NO_SLICE


def _specs(*texts):
    return tuple(map(parse_slice, texts))


def _catalog(texts, rows, **limits):
    specs = _specs(*texts)
    return build_catalog(specs, SliceCounts.of_rows(specs, rows), **{"min_rows": 1, **limits})


def _members(catalog, rows):
    """Returns for each slice, by the text of its key, the rows that are in it."""
    ids = catalog.slice_ids(rows)
    return {
        " ".join(f"{column}={value}" for column, value in key): np.flatnonzero(
            (ids == slice_id).any(axis=1)
        ).tolist()
        for slice_id, key in enumerate(catalog.keys)
    }


class TestOneColumn:
    def test_strings(self):
        """Each value is a slice, and null is one."""
        rows = pa.record_batch({"c": ["b", "a", None, "b"]})
        assert _members(_catalog(["c"], rows), rows) == {
            "": [0, 1, 2, 3],
            "c=a": [1],
            "c=b": [0, 3],
            "c=__null__": [2],
        }

    @pytest.mark.parametrize(
        ("column", "names"),
        [
            (pa.array([10, 9, None], pa.int8()), ["9", "10"]),
            (pa.array([10, 9, None], pa.uint64()), ["9", "10"]),
            (pa.array([0.1, 9.0, np.nan], pa.float32()), ["0.1", "9"]),
            (pa.array([0.5, 9, None], pa.float16()), ["0.5", "9"]),
            (pa.array([True, False, None]), ["false", "true"]),
            (pa.array([b"x", b"\xff", None]), ["\\xff", "x"]),
            (pa.array(["x", "y", None]).dictionary_encode(), ["x", "y"]),
            (pa.array([[1.0], [2.0], None], pa.list_(pa.float32(), 1)), ["1", "2"]),
            (pa.array([dt.date(2026, 1, 2), None, None]), ["2026-01-02"]),
            (pa.nulls(3), []),
        ],
    )
    def test_types(self, column, names):
        """Values of any plain type have names, in the order of numbers where they are some."""
        rows = pa.record_batch({"c": column})
        found = [dict(key)["c"] for key in _catalog(["c"], rows).keys[1:]]
        assert found == [*names, "__null__"]

    def test_one_name_in_all_types(self):
        """Files that store a column as other types have the same slices."""
        files = [
            pa.record_batch({"c": pa.array([1, None], data_type)})
            for data_type in (pa.int32(), pa.float64(), pa.string())
            if data_type != pa.string()
        ]
        files.append(pa.record_batch({"c": ["1", None]}))
        specs = _specs("c")
        counts = SliceCounts.merge(SliceCounts.of_rows(specs, each) for each in files)
        catalog = build_catalog(specs, counts)
        assert catalog.num_slices == 3
        assert [catalog.slice_ids(each).tolist() for each in files] == [[[0, 1], [0, 2]]] * 3

    def test_zeros_and_nans(self):
        """Both zeros are one value; NaN and null are one value."""
        nan = float("nan")
        rows = pa.record_batch({"c": pa.array([0.0, -0.0, nan, None])})
        assert _members(_catalog(["c"], rows), rows) == {
            "": [0, 1, 2, 3],
            "c=0": [0, 1],
            "c=__null__": [2, 3],
        }

    def test_beyond_the_cap(self):
        """The most frequent values have slices, the first in order among equals; null always."""
        rows = pa.record_batch({"c": ["x", "y", "y", "w", "x", "v", None]})
        assert _members(_catalog(["c"], rows, max_values_per_column=3), rows) == {
            "": list(range(7)),
            "c=v": [5],
            "c=x": [0, 4],
            "c=y": [1, 2],
            "c=__other__": [3],
            "c=__null__": [6],
        }

    def test_small_slices_stay(self):
        """Slices that are too small to be scored are there, to be listed."""
        rows = pa.record_batch({"c": ["x", "y", "y"]})
        assert _catalog(["c"], rows, min_rows=30).num_slices == 3


class TestBuckets:
    def test_edges(self):
        """A bucket has its lower edge; null and NaN are apart; nothing needs a scan."""
        specs = _specs("age=[18,30]")
        assert not needs_scan(specs)
        rows = pa.record_batch({"age": pa.array([17.9, 18.0, 30.0, None, float("nan"), -5.0])})
        assert _members(build_catalog(specs), rows) == {
            "": list(range(6)),
            "age=(-inf, 18)": [0, 5],
            "age=[18, 30)": [1],
            "age=[30, inf)": [2],
            "age=__null__": [3, 4],
        }

    def test_as_the_columns_own_type(self):
        """A float32 of 0.7 reaches 0.7."""
        rows = pa.record_batch({"x": pa.array([0.7], pa.float32())})
        assert _members(build_catalog(_specs("x=[0.7]")), rows)["x=[0.7, inf)"] == [0]

    @pytest.mark.parametrize("column", [["a"], [True]])
    def test_no_numbers(self, column):
        """Only numbers can be cut."""
        rows = pa.record_batch({"x": column})
        with pytest.raises(InvalidArgumentError, match=r"'x' is .* only numbers can be cut"):
            build_catalog(_specs("x=[1]")).slice_ids(rows)


class TestCrosses:
    def test_pairs_that_occur(self):
        """A cross has a slice for each pair of values in the data, columns by name."""
        rows = pa.record_batch({"d": ["p", "q", "p", None], "c": [1, 1, 2, 2]})
        assert _members(_catalog(["d,c"], rows), rows) == {
            "": [0, 1, 2, 3],
            "c=1 d=p": [0],
            "c=1 d=q": [1],
            "c=2 d=p": [2],
            "c=2 d=__null__": [3],
        }

    def test_rare_values_have_no_crosses(self):
        """A value that is too rare to be scored makes no crosses, but is a slice alone."""
        rows = pa.record_batch({"c": ["x"] * 3 + ["y"] * 3 + ["z"], "d": ["p"] * 4 + ["q"] * 3})
        found = _members(_catalog(["c", "c,d"], rows, min_rows=2), rows)
        assert found["c=z"] == [6]
        assert found["c=__other__ d=q"] == [6]
        assert "c=z d=q" not in found
        assert found["c=y d=p"] == [3]

    def test_with_named_values_and_buckets(self):
        """Named values select rows; buckets cross with them."""
        rows = pa.record_batch({"c": ["x", "x", "y", "x"], "n": [1, 5, 5, 1], "d": list("ppqq")})
        found = _members(_catalog(["c=x,n=[3],d"], rows), rows)
        assert found == {
            "": [0, 1, 2, 3],
            "c=x d=p n=(-inf, 3)": [0],
            "c=x d=p n=[3, inf)": [1],
            "c=x d=q n=(-inf, 3)": [3],
        }

    def test_named_values_alone_need_no_scan(self):
        """All combinations of named values and buckets are slices, occurring or not."""
        specs = _specs("c=x|y,n=[3]")
        rows = pa.record_batch({"c": ["x", "z"], "n": [5, 5]})
        catalog = build_catalog(specs)
        assert catalog.num_slices == 1 + 2 * 3
        assert catalog.slice_ids(rows).tolist() == [
            [0, catalog.keys.index((("c", "x"), ("n", "[3, inf)")))],
            [0, NO_SLICE],
        ]


class TestSeveralSpecs:
    def test_a_slice_asked_for_twice(self):
        """Slices of the same rows are one slice, and a row is in it once."""
        rows = pa.record_batch({"c": ["x", "y"]})
        catalog = _catalog(["c", "c=x", "c=y|w"], rows)
        assert catalog.keys == (ALL_ROWS, (("c", "x"),), (("c", "y"),))
        assert catalog.slice_ids(rows).tolist() == [[0, 1], [0, 2]]

    def test_named_values_are_kept(self):
        """A value that some spec names has a slice however rare it is."""
        rows = pa.record_batch({"c": ["x", "x", "y", "z"], "d": [1, 1, 1, 1]})
        found = _members(
            _catalog(["c", "c,d", "c=z,d"], rows, max_values_per_column=1, min_rows=2), rows
        )
        assert found == {
            "": [0, 1, 2, 3],
            "c=x": [0, 1],
            "c=z": [3],
            "c=__other__": [2],
            "c=x d=1": [0, 1],
            "c=z d=1": [3],
            "c=__other__ d=1": [2],
        }

    def test_other_edges(self):
        """Buckets by other edges are other slices; those in common are one."""
        rows = pa.record_batch({"n": [1, 5, None]})
        catalog = _catalog(["n=[3]", "n=[3,4]", "n"], rows)
        found = _members(catalog, rows)
        assert found["n=(-inf, 3)"] == [0]
        assert found["n=__null__"] == [2]
        assert found["n=5"] == [1]
        ids = catalog.slice_ids(rows)
        for row in ids:
            used = row[row != NO_SLICE]
            assert len(used) == len(set(used))


class TestRefusals:
    def test_missing_column(self):
        """A column that is not there is named, with the nearest one."""
        with pytest.raises(InvalidArgumentError, match=r"'contry' .* did you mean 'country'"):
            _catalog(["contry"], pa.record_batch({"country": ["x"]}))

    def test_lists(self):
        """Rows have one value each."""
        with pytest.raises(InvalidArgumentError, match="where one value a row is expected"):
            _catalog(["c"], pa.record_batch({"c": [[1, 2]]}))

    def test_too_many_slices(self):
        """The message says of which columns there are so many."""
        rows = pa.record_batch({"a": list(range(60)), "b": list(range(60))})
        with pytest.raises(
            InvalidArgumentError, match=r"141 slices, .* 120: a has 60, a,b has 60, b=.*|a has 60"
        ):
            _catalog(
                ["a", "a,b", "b=[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18]"],
                rows,
                max_slices=120,
            )

    def test_too_many_products(self):
        """Named values are counted before they are multiplied out."""
        edges = f"[{','.join(map(str, range(500)))}]"
        with pytest.raises(InvalidArgumentError, match=r"252,005 slices"):
            build_catalog(_specs(f"a={edges},b={edges}"))

    def test_too_many_values(self, monkeypatch):
        """A column of keys is refused while it is counted, however it is split."""
        monkeypatch.setattr(slice_counts, "MAX_COMBINATIONS", 5)
        specs = _specs("id")
        parts = [SliceCounts.of_rows(specs, pa.record_batch({"id": [i, i + 1]})) for i in (0, 2, 4)]
        with pytest.raises(InvalidArgumentError, match="'id' has more than 5 values"):
            SliceCounts.merge(parts)

    def test_no_scan(self):
        """Slices of unknown values need a count."""
        with pytest.raises(InvalidArgumentError, match="need a count"):
            build_catalog(_specs("c"))

    @pytest.mark.parametrize("name", ["max_values_per_column", "max_slices", "min_rows"])
    def test_limits(self, name):
        """Limits are positive."""
        with pytest.raises(InvalidArgumentError, match=f"{name} must be 1 or more"):
            build_catalog((), **{name: 0})


def test_no_slices():
    """Without specs all rows are one slice."""
    catalog = build_catalog(())
    assert catalog.keys == (ALL_ROWS,)
    assert catalog.slice_ids(pa.record_batch({"x": [1, 2]})).tolist() == [[0], [0]]


def test_empty_data():
    """Data without rows has no values."""
    rows = pa.record_batch({"c": pa.array([], pa.string())})
    catalog = _catalog(["c"], rows)
    assert catalog.keys == (ALL_ROWS,)
    assert catalog.slice_ids(rows).shape == (0, 2)


def test_values_that_were_not_counted():
    """Rows of a value that the count has not seen are in no slice of that column."""
    catalog = _catalog(["c"], pa.record_batch({"c": ["x"]}))
    assert catalog.slice_ids(pa.record_batch({"c": ["new", None]})).tolist() == [
        [0, NO_SLICE],
        [0, NO_SLICE],
    ]


class TestTables:
    def test_round_trip(self):
        """A catalog survives a table, and pickling, and finds the same slices afterwards."""
        rows = pa.record_batch({"c": ["x", "y", None, "x"], "n": [1.5, 2.5, None, 9]})
        catalog = _catalog(["c,n=[2]", "n", "c=y|z"], rows)
        table = catalog.to_table()
        again = SliceCatalog.from_table(table)
        assert again == catalog
        assert again.to_table().equals(table, check_metadata=True)
        expected = catalog.slice_ids(rows)
        assert (again.slice_ids(rows) == expected).all()
        assert (pickle.loads(pickle.dumps(catalog)).slice_ids(rows) == expected).all()

    def test_another_table(self):
        """A table of something else is refused."""
        with pytest.raises(DataLossError, match="holds no slices"):
            SliceCatalog.from_table(pa.table({"x": [1]}))


_ROWS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c", "d", "__other__", "", None]),
        st.one_of(st.none(), st.integers(0, 6)),
        st.sampled_from([0.0, -0.0, 0.5, 3.0, float("nan"), None]),
    ),
    max_size=40,
)
_TEXTS = ("s", "s,n", "f=[0.25,1]", "n=[2,4],s", "s=a|c,n", "n,f,s", "s=b", "f", "n=[2,4]")


def _batch(rows):
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    types = (pa.string(), pa.int64(), pa.float64())
    arrays = [pa.array(each, kind) for each, kind in zip(columns, types, strict=True)]
    return pa.record_batch(arrays, names=["s", "n", "f"])


@given(
    rows=_ROWS,
    texts=st.lists(st.sampled_from(_TEXTS), unique=True, max_size=5),
    cuts=st.lists(st.integers(0, 40), max_size=5),
    order=st.randoms(use_true_random=False),
    max_values=st.integers(1, 5),
    min_rows=st.integers(1, 4),
)
def test_any_split_gives_the_same(rows, texts, cuts, order, max_values, min_rows):
    """Catalog and ids do not depend on how rows were split, or in which order they were counted."""
    specs, whole = _specs(*texts), _batch(rows)
    limits = {"max_values_per_column": max_values, "min_rows": min_rows}
    edges = sorted({0, len(rows), *(min(cut, len(rows)) for cut in cuts)})
    parts = [whole.slice(low, high - low) for low, high in itertools.pairwise(edges)]
    counts = [SliceCounts.of_rows(specs, each) for each in parts]
    order.shuffle(counts)
    at_once = build_catalog(specs, SliceCounts.of_rows(specs, whole), **limits)
    in_parts = build_catalog(
        specs, SliceCounts.merge([SliceCounts.of_specs(specs), *counts]), **limits
    )
    assert in_parts == at_once
    assert in_parts.to_table().equals(at_once.to_table(), check_metadata=True)
    ids = at_once.slice_ids(whole)
    found = [in_parts.slice_ids(each) for each in parts]
    assert np.array_equal(np.concatenate([ids[:0], *found]), ids)


@given(
    rows=_ROWS, texts=st.lists(st.sampled_from(_TEXTS), unique=True), max_values=st.integers(1, 5)
)
def test_slices_against_a_walk_over_rows(rows, texts, max_values):
    """Every row is in slice 0, in a slice at most once, and where its values say."""
    whole = _batch(rows)
    catalog = _catalog(texts, whole, max_values_per_column=max_values, min_rows=2)
    ids = catalog.slice_ids(whole)
    assert (ids[:, 0] == 0).all()
    for row, found in zip(rows, ids, strict=True):
        used = found[found != NO_SLICE]
        assert len(used) == len(set(used))
        for each in used:
            assert all(_is_in(row, pair) for pair in catalog.keys[each])


def _is_in(row, pair):
    column, name = pair
    value = row["snf".index(column)]
    if name == "__other__":
        return True
    if value is None or value != value:  # noqa: PLR0124 - NaN
        return name == "__null__"
    if name.startswith(("[", "(")):
        low, high = (float(each.strip("[]() ")) for each in name.split(","))
        return low <= value < high
    return name == (
        value if isinstance(value, str) else str(int(value) if value % 1 == 0 else value)
    )


@given(
    rows=_ROWS,
    text=st.sampled_from(["s", "n", "f", "s,n", "f=[0.25,1]", "n=[2,4],s", "n,f,s"]),
    max_values=st.integers(1, 5),
    min_rows=st.integers(1, 4),
)
def test_partitions(rows, text, max_values, min_rows):
    """Slices by a column, and crosses, are a partition: their rows add up to all rows."""
    whole = _batch(rows)
    catalog = _catalog([text], whole, max_values_per_column=max_values, min_rows=min_rows)
    ids = catalog.slice_ids(whole)[:, 1]
    counted = Counter(ids.tolist())
    assert NO_SLICE not in counted
    assert sum(counted.values()) == len(rows)
    assert set(counted) <= set(catalog.members[0])

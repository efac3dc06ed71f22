"""Lists of varying length as ragged arrays, and ragged outputs as lists."""

import numpy as np
import pyarrow as pa
import pytest

from servable_core.batching.ragged_array import RaggedArray
from servable_core.errors import InvalidArgumentError
from servable_core.servables.signature import SignatureSpec, TensorSpec
from transforms.binding import bind
from transforms.input_batch import InputBatch, Origin
from transforms.input_map import parse_input_map
from transforms.outputs import OutputLayout, to_record_batch
from transforms.tensors import to_tensors


def _tensor(column, *, dtype="float32", inner=(), pads_all=True):
    """Returns what an input [None, None, *inner] called `x` is fed from a column."""
    columns = column if isinstance(column, pa.RecordBatch) else pa.record_batch({"x": column})
    origins = (Origin(path="f", first_row=10, num_rows=columns.num_rows),)
    batch = InputBatch(columns=columns, origins=origins)
    spec = TensorSpec(name="x", dtype=dtype, shape=(None, None, *inner))
    binding = bind(
        SignatureSpec(name="s", inputs=(spec,), outputs=()),
        columns.schema,
        {},
        has_records=False,
        model="m/1",
        pads_all=pads_all,
    )
    return to_tensors(batch, binding)["x"]


def _rows(ragged):
    assert isinstance(ragged, RaggedArray)
    return [ragged.row(index).tolist() for index in range(len(ragged))]


LISTS = [[1, 2, 3], [], [4], [5, 6]]


class TestRagged:
    @pytest.mark.parametrize(
        "list_type",
        [pa.list_(pa.float32()), pa.large_list(pa.float32()), pa.list_(pa.float64())],
        ids=str,
    )
    def test_rows(self, list_type):
        """Each row keeps its values and its length."""
        ragged = _tensor(pa.array(LISTS, list_type))
        assert _rows(ragged) == LISTS
        assert ragged.dtype == np.float32

    @pytest.mark.parametrize("rows", [slice(0, 2), slice(1, 4), slice(2, 2), slice(3, 4)])
    def test_slices_of_a_batch(self, rows):
        """Rows from the middle of a column begin at their own values."""
        batch = pa.record_batch({"x": pa.array(LISTS, pa.list_(pa.float32()))})
        part = batch.slice(rows.start, rows.stop - rows.start)
        assert _rows(_tensor(part)) == LISTS[rows]

    def test_no_rows(self):
        """A batch without rows is a ragged array without rows, of the right type."""
        ragged = _tensor(pa.array([], pa.list_(pa.int32())), dtype="int64")
        assert (len(ragged), ragged.dtype) == (0, np.int64)

    def test_no_values(self):
        """Rows that are all empty are rows."""
        assert _rows(_tensor(pa.array([[], []], pa.list_(pa.float32())))) == [[], []]

    def test_strings(self):
        """Strings are bytes, dictionaries resolved."""
        plain = pa.array([["a", "é"], [], ["b"]], pa.list_(pa.string()))
        indices = pa.array([0, 1, 2], pa.int8())
        coded = pa.DictionaryArray.from_arrays(indices, pa.array(["a", "é", "b"]))
        encoded = pa.ListArray.from_arrays(pa.array([0, 2, 2, 3], pa.int32()), coded)
        expected = [[b"a", "é".encode()], [], [b"b"]]
        assert _rows(_tensor(plain, dtype="string")) == expected
        assert _rows(_tensor(encoded, dtype="string")) == expected

    @pytest.mark.parametrize(
        "list_type", [pa.list_(pa.list_(pa.float32(), 2)), pa.list_(pa.list_(pa.float32()))]
    )
    def test_nested_lists(self, list_type):
        """Lists of lists of one length are counted in inner lists, also from the middle."""
        rows = [[[1, 2]], [], [[3, 4], [5, 6]]]
        batch = pa.record_batch({"x": pa.array(rows, list_type)})
        assert _rows(_tensor(batch, inner=(2,))) == rows
        assert _rows(_tensor(batch.slice(1), inner=(2,))) == rows[1:]

    def test_flat_lists_for_an_inner_shape(self):
        """A flat list has as many items as its values fill."""
        ragged = _tensor(pa.array([[1, 2, 3, 4], [5, 6]], pa.list_(pa.float32())), inner=(2,))
        assert _rows(ragged) == [[[1, 2], [3, 4]], [[5, 6]]]


class TestErrors:
    def test_values_that_fill_no_item(self):
        """A row of values that are no multiple of an item's is an error."""
        with pytest.raises(InvalidArgumentError, match=r"'x' .* no multiple of 2"):
            _tensor(pa.array([[1, 2], [3]], pa.list_(pa.float32())), inner=(2,))

    def test_inner_lists_of_different_lengths(self):
        """Only the first dimension is padded, so no padding is advised for another."""
        column = pa.array([[[1, 2]], [[3]]], pa.list_(pa.list_(pa.float32())))
        with pytest.raises(InvalidArgumentError, match=r"different lengths .*--preprocess$"):
            _tensor(column, inner=(2,))

    @pytest.mark.parametrize(
        ("rows", "list_type", "place"),
        [
            ([[1] * 9, [], [2, None], [3]], pa.list_(pa.float32()), "row 12 of f"),
            ([[1] * 9, None, [2]], pa.list_(pa.float32()), "row 11 of f"),
            ([[None]], pa.list_(pa.float32()), "row 10 of f"),
            ([[], [], [1, 1, 1], [None]], pa.list_(pa.float32()), "row 13 of f"),
            ([[[1, 2]] * 5, [None], []], pa.list_(pa.list_(pa.float32(), 2)), "row 11 of f"),
            ([[[1, 2]] * 5, [], [[1, None]]], pa.list_(pa.list_(pa.float32(), 2)), "row 12 of f"),
        ],
    )
    def test_null_is_found_in_its_row(self, rows, list_type, place):
        """The message names the row that has the null, whatever the lengths of those before."""
        is_nested = pa.types.is_fixed_size_list(list_type.value_type)
        with pytest.raises(InvalidArgumentError, match=f"1 nulls .* {place}"):
            _tensor(pa.array(rows, list_type), inner=(2,) if is_nested else ())

    def test_value_that_does_not_fit(self):
        """Values of lists are checked as those of scalars are."""
        with pytest.raises(InvalidArgumentError, match="'x': the value 300 does not fit int8"):
            _tensor(pa.array([[1], [300, 2]], pa.list_(pa.int64())), dtype="int8")

    def test_not_asked_for(self):
        """Without a mask, lengths or the flag, different lengths are an error with the remedies."""
        with pytest.raises(InvalidArgumentError) as caught:
            _tensor(pa.array(LISTS, pa.list_(pa.float32())), pads_all=False)
        message = str(caught.value)
        assert "--input_map=TENSOR=mask(x)" in message
        assert "--pad_variable_length_inputs" in message


def test_derived_inputs_are_left_to_padding():
    """Masks and lengths are made when rows are padded, not before."""
    inputs = (
        TensorSpec(name="x", dtype="float32", shape=(None, None)),
        TensorSpec(name="m", dtype="bool", shape=(None, None)),
        TensorSpec(name="n", dtype="int64", shape=(None,)),
    )
    columns = pa.record_batch({"x": pa.array(LISTS, pa.list_(pa.float32()))})
    binding = bind(
        SignatureSpec(name="s", inputs=inputs, outputs=()),
        columns.schema,
        parse_input_map(["m=mask(x)", "n=len(x)"]),
        has_records=False,
        model="m/1",
    )
    tensors = to_tensors(InputBatch(columns=columns), binding)
    assert list(tensors) == ["x"]
    assert _rows(tensors["x"]) == LISTS


class TestListColumns:
    def _column(self, values):
        columns = pa.record_batch({"id": range(len(values))})
        layout = OutputLayout(copied=("id",), tensors={"y": "y"})
        return to_record_batch(columns, {"y": values}, layout).column("y")

    def test_values(self):
        """Rows of different lengths become lists of their own lengths."""
        column = self._column(RaggedArray.from_rows(LISTS, "float32"))
        assert column.type == pa.list_(pa.float32())
        assert column.to_pylist() == LISTS

    def test_rows_of_a_larger_array(self):
        """Some rows of an array become lists that begin at their own values."""
        column = self._column(RaggedArray.from_rows(LISTS, "int32")[1:3])
        assert column.to_pylist() == [[], [4]]

    def test_strings(self):
        """Strings come back as bytes."""
        column = self._column(RaggedArray.from_rows([[b"a"], [], [b"b", b"c"]], "object"))
        assert column.type == pa.list_(pa.binary())
        assert column.to_pylist() == [[b"a"], [], [b"b", b"c"]]

    def test_items_of_several_values(self):
        """Further dimensions are fixed-size lists within the list."""
        values = np.arange(12, dtype=np.float32).reshape(3, 2, 2)
        column = self._column(RaggedArray(values, np.array([0, 1, 1, 3])))
        assert column.type == pa.list_(pa.list_(pa.list_(pa.float32(), 2), 2))
        assert column.to_pylist() == [[values[0].tolist()], [], values[1:].tolist()]

    def test_no_rows(self):
        """Without rows the type is the same."""
        column = self._column(RaggedArray(np.zeros(0, np.float32), np.zeros(1, np.int64)))
        assert (column.type, len(column)) == (pa.list_(pa.float32()), 0)

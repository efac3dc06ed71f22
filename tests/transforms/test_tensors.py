import numpy as np
import pyarrow as pa
import pytest

from servable_core.errors import InvalidArgumentError
from servable_core.servables.signature import SignatureSpec, TensorSpec
from transforms.binding import bind
from transforms.input_batch import InputBatch, Origin
from transforms.input_map import parse_input_map
from transforms.tensors import to_tensors


def _tensor(columns, *, dtype="float32", shape=(None, 3), source="x"):
    """Returns what an input called `x` is fed from `columns`."""
    if not isinstance(columns, InputBatch):
        is_batch = isinstance(columns, pa.RecordBatch)
        columns = InputBatch(columns=columns if is_batch else pa.record_batch(columns))
    spec = TensorSpec(name="x", dtype=dtype, shape=shape)
    binding = bind(
        SignatureSpec(name="s", inputs=(spec,), outputs=()),
        columns.columns.schema,
        parse_input_map([f"x={source}"]),
        has_records=False,
        model="m/1",
    )
    return to_tensors(columns, binding)["x"]


def _vectors(values, value_type=None):
    values = np.asarray(values)
    flat = pa.array(values.reshape(-1), value_type)
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def _buffer(array):
    """Returns the values' memory as bytes."""
    while pa.types.is_fixed_size_list(array.type):
        array = array.flatten()
    return np.frombuffer(array.buffers()[1], np.uint8)


class TestScalars:
    @pytest.mark.parametrize(
        "dtype",
        [
            "int8",
            "int16",
            "int32",
            "int64",
            "uint8",
            "uint16",
            "uint32",
            "uint64",
            "float16",
            "float32",
            "float64",
        ],
    )
    def test_every_width(self, dtype):
        """Numbers of each width arrive as they are."""
        values = np.array([0, 1, 100], dtype)
        tensor = _tensor({"x": pa.array(values)}, dtype=dtype, shape=(None,))
        assert tensor.dtype == np.dtype(dtype)
        np.testing.assert_array_equal(tensor, values)

    def test_bool(self):
        """Arrow packs booleans as bits, also from the middle of a byte."""
        values = [True, False, True, True, False, True, False, False, True, True]
        tensor = _tensor({"x": pa.array(values)}, dtype="bool", shape=(None,))
        assert tensor.tolist() == values
        part = pa.record_batch({"x": pa.array(values)}).slice(3, 6)
        assert _tensor(part, dtype="bool", shape=(None,)).tolist() == values[3:9]

    def test_bool_to_float(self):
        """Booleans become 0 and 1."""
        tensor = _tensor({"x": pa.array([True, False])}, shape=(None, 1))
        assert tensor.tolist() == [[1.0], [0.0]]

    def test_column_matrix(self):
        """A scalar column feeds `[None, 1]`."""
        assert _tensor({"x": pa.array([1.0, 2.0], pa.float32())}, shape=(None, 1)).shape == (2, 1)

    @pytest.mark.parametrize("text_type", [pa.string(), pa.large_string(), pa.binary()])
    def test_text(self, text_type):
        """Strings arrive as bytes, of any Arrow type."""
        column = pa.array(["a", "ü", ""], pa.string()).cast(text_type)
        tensor = _tensor({"x": column}, dtype="string", shape=(None,))
        assert tensor.tolist() == [b"a", "ü".encode(), b""]

    @pytest.mark.parametrize(
        ("values", "dtype"), [(["a", "b", "a"], "string"), ([1.5, 2.5, 1.5], "float64")]
    )
    def test_dictionary(self, values, dtype):
        """Dictionary-encoded columns are decoded."""
        column = pa.array(values).dictionary_encode()
        tensor = _tensor({"x": column}, dtype=dtype, shape=(None,))
        expected = [each.encode() if isinstance(each, str) else each for each in values]
        assert tensor.tolist() == expected

    def test_values_are_cast_with_care(self):
        """The column is named when a value does not survive its cast."""
        column = pa.array([1, 2**31])
        with pytest.raises(InvalidArgumentError, match=r"^column 'x': the value 2147483648 does"):
            _tensor({"x": column}, dtype="int32", shape=(None,))


class TestLists:
    _VALUES = np.arange(30, dtype=np.float32).reshape(10, 3)

    @pytest.mark.parametrize(
        "column",
        [
            _vectors(_VALUES),
            pa.array(_VALUES.tolist(), pa.list_(pa.float32())),
            pa.array(_VALUES.tolist(), pa.large_list(pa.float32())),
            pa.array(_VALUES.tolist(), pa.list_(pa.float64(), 3)),
        ],
        ids=["fixed", "list", "large_list", "float64"],
    )
    @pytest.mark.parametrize(("start", "length"), [(0, 10), (4, 3), (9, 1), (3, 0)])
    def test_slices(self, column, start, length):
        """A slice gives its own rows, whatever lies before and after it."""
        batch = pa.record_batch({"x": column}).slice(start, length)
        tensor = _tensor(batch)
        assert tensor.dtype == np.float32
        np.testing.assert_array_equal(tensor, self._VALUES[start : start + length])
        assert tensor.shape == (length, 3)

    def test_nested(self):
        """Lists of lists fill more dimensions."""
        column = pa.array([[[1, 2], [3, 4]], [[5, 6], [7, 8]]], pa.list_(pa.list_(pa.int64())))
        tensor = _tensor({"x": column}, dtype="int64", shape=(None, 4))
        assert tensor.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]

    def test_higher_ranks(self):
        """A flat list is folded into the signature's shape."""
        tensor = _tensor({"x": _vectors(np.arange(12.0).reshape(2, 6))}, shape=(None, 2, 3))
        np.testing.assert_array_equal(tensor, np.arange(12.0).reshape(2, 2, 3))

    def test_text(self):
        """Lists of strings become matrices of bytes."""
        column = pa.array([["a", "b"], ["c", "d"]], pa.list_(pa.string(), 2))
        tensor = _tensor({"x": column}, dtype="string", shape=(None, 2))
        assert tensor.tolist() == [[b"a", b"b"], [b"c", b"d"]]

    def test_length_known_from_the_data(self):
        """Lists of equal length feed an input of any width."""
        column = pa.array([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float32()))
        assert _tensor({"x": column}, shape=(None, None)).shape == (2, 2)

    def test_wrong_length(self):
        """Lists of another length than the signature's are told with both."""
        column = pa.array([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float32()))
        with pytest.raises(InvalidArgumentError, match=r"^column 'x' has 2 values a row, which is"):
            _tensor({"x": column})

    def test_lengths_that_differ(self):
        """Lists of different lengths cannot become a dense tensor."""
        column = pa.array([[1.0], [2.0, 3.0]], pa.list_(pa.float32()))
        with pytest.raises(InvalidArgumentError, match=r"different lengths \(1 and 2 values\)"):
            _tensor({"x": column}, shape=(None, None))


class TestNulls:
    @pytest.mark.parametrize(
        ("column", "dtype", "shape"),
        [
            (pa.array([1.0, None, 3.0], pa.float32()), "float32", (None,)),
            (pa.array([True, None, None]), "bool", (None,)),
            (pa.array(["a", None, "b"]), "string", (None,)),
            (pa.array(["a", None, "b"]).dictionary_encode(), "string", (None,)),
            (pa.array([[1.0], None, [2.0]], pa.list_(pa.float32(), 1)), "float32", (None, 1)),
            (pa.array([[1.0], None, [2.0]], pa.list_(pa.float32())), "float32", (None, 1)),
            (pa.array([[1.0], [None], [2.0]], pa.list_(pa.float32(), 1)), "float32", (None, 1)),
        ],
        ids=["float", "bool", "string", "dictionary", "fixed_list", "list", "within_a_list"],
    )
    def test_are_errors(self, column, dtype, shape):
        """A null of any kind is told with its column and first place."""
        with pytest.raises(InvalidArgumentError, match=r"column 'x' has [12] nulls") as caught:
            _tensor({"x": column}, dtype=dtype, shape=shape)
        assert "the first at its row 1" in str(caught.value)
        assert "--preprocess" in str(caught.value)

    @pytest.mark.parametrize(
        ("null_row", "place"), [(1, "row 8 of /b"), (5, "row 12 of /b"), (6, "row 0 of /c")]
    )
    @pytest.mark.parametrize("length", [1, 3])
    def test_name_the_row_of_the_file(self, null_row, place, length):
        """Rows of several files in one batch, cut from a longer one, are told by file and row."""
        values = np.ones((11, length)).tolist()
        values[null_row + 2][-1] = None
        origins = (
            Origin(path="/a", first_row=0, num_rows=1),
            Origin(path="/b", first_row=6, num_rows=7),
            Origin(path="/c", first_row=0, num_rows=3),
        )
        columns = pa.record_batch({"x": pa.array(values, pa.list_(pa.float32(), length))})
        batch = InputBatch(columns=columns, origins=origins).slice(2, 10)
        with pytest.raises(InvalidArgumentError, match=f"the first at {place}, but"):
            _tensor(batch, shape=(None, length))

    def test_nulls_outside_a_slice_do_not_matter(self):
        """Only the batch's own rows count."""
        column = pa.array([None, 1.0, 2.0, None], pa.float32())
        batch = pa.record_batch({"x": column}).slice(1, 2)
        assert _tensor(batch, shape=(None,)).tolist() == [1.0, 2.0]


class TestStacks:
    def test_order(self):
        """Columns stand side by side in the order given, each cast for itself."""
        columns = {
            "a": pa.array([1.0, 2.0], pa.float64()),
            "b": pa.array([3, 4], pa.int8()),
            "c": pa.array([True, False]),
        }
        tensor = _tensor(columns, source="[c,a,b]")
        assert tensor.dtype == np.float32
        assert tensor.tolist() == [[1.0, 1.0, 3.0], [0.0, 2.0, 4.0]]

    def test_text(self):
        """String columns stack, too."""
        columns = {"a": pa.array(["p", "q"]), "b": pa.array([b"r", b"s"], pa.large_binary())}
        tensor = _tensor(columns, dtype="string", shape=(None, 2), source="[b,a]")
        assert tensor.tolist() == [[b"r", b"p"], [b"s", b"q"]]

    def test_each_column_is_checked_as_its_own_type_needs(self):
        """An integer beside floats is checked for exactness, not rounded along with them."""
        columns = {"a": pa.array([0.1]), "b": pa.array([2**24 + 1])}
        with pytest.raises(InvalidArgumentError, match="column 'b': the value 16777217 does not"):
            _tensor(columns, shape=(None, 2), source="[a,b]")


class TestCopies:
    @pytest.mark.parametrize("start", [0, 2])
    def test_scalar_columns_share_memory(self, start):
        """float32 columns reach the model without a copy."""
        column = pa.array(np.arange(8, dtype=np.float32))
        batch = pa.record_batch({"x": column}).slice(start)
        tensor = _tensor(batch, shape=(None, 1))
        assert np.shares_memory(tensor, _buffer(column))
        assert tensor[0, 0] == start

    @pytest.mark.parametrize("start", [0, 2])
    def test_fixed_size_lists_share_memory(self, start):
        """So do fixed-size lists, as matrices, from any row on."""
        column = _vectors(np.arange(24, dtype=np.float32).reshape(8, 3))
        batch = pa.record_batch({"x": column}).slice(start)
        tensor = _tensor(batch)
        assert np.shares_memory(tensor, _buffer(column))
        assert tensor[0].tolist() == [3.0 * start, 3.0 * start + 1, 3.0 * start + 2]

    def test_casts_copy(self):
        """What is cast does not share memory, so nothing of the input can change."""
        column = pa.array(np.arange(8, dtype=np.float64))
        assert not np.shares_memory(_tensor({"x": column}, shape=(None,)), _buffer(column))


def test_records_are_passed_through():
    """Serialized Examples are fed as the tensor they were read as."""
    spec = TensorSpec(name="examples", dtype="string", shape=(None,))
    records = object()
    batch = pa.record_batch({"a": [1]})
    binding = bind(
        SignatureSpec(name="s", inputs=(spec,), outputs=()),
        batch.schema,
        {},
        has_records=True,
        model="m/1",
    )
    assert to_tensors(InputBatch(columns=batch, records=records), binding) == {"examples": records}

"""Ragged and sparse inputs in the plan: what binds to them, and which outputs can be written."""

import numpy as np
import pyarrow as pa
import pytest

from servable_core.batching.padding import PaddingOptions
from servable_core.batching.ragged_array import RaggedArray
from servable_core.errors import InvalidArgumentError
from servable_core.servables.signature import Encoding, SignatureSpec, TensorSpec
from transforms.binding import Binding, BoundInput, try_bind
from transforms.heads import find_heads
from transforms.input_batch import InputBatch
from transforms.input_map import parse_input_map
from transforms.logged_inputs import logged_parts
from transforms.outputs import plan_outputs
from transforms.padding import padding_options
from transforms.ragged_outputs import without_fixed_outputs
from transforms.tensors import to_tensors

RAGGED, SPARSE = Encoding.RAGGED, Encoding.SPARSE


def _tensor(shape=(None, None), dtype="float32", encoding=RAGGED, name="x"):
    return TensorSpec(name=name, dtype=dtype, shape=shape, encoding=encoding)


def _bind(tensor, data_type, *entries, **options):
    signature = SignatureSpec(name="s", inputs=(tensor,), outputs=())
    schema = pa.schema([pa.field("x", data_type), pa.field("y", data_type)])
    (bound,) = try_bind(signature, schema, parse_input_map(entries), has_records=False, **options)
    return bound


class TestBinding:
    @pytest.mark.parametrize(
        "data_type",
        [
            pa.list_(pa.float32()),
            pa.large_list(pa.float32()),
            pa.list_(pa.float32(), 3),
            pa.float32(),
        ],
        ids=str,
    )
    @pytest.mark.parametrize("shape", [(None, None), (None, 4), None], ids=str)
    def test_one_list_a_row(self, data_type, shape):
        """Any list will do, and a single value; it is not said to be padded."""
        bound = _bind(_tensor(shape), data_type, pads_all=True)
        assert bound.row_shape == (-1,)
        assert (bound.is_ragged, bound.is_padded) == (True, False)

    def test_words(self):
        """As `inspect` shows it."""
        bound = _bind(_tensor(encoding=SPARSE), pa.list_(pa.float32()))
        assert str(bound) == "x: sparse float32 [None, None] <- x"

    @pytest.mark.parametrize(
        ("data_type", "entries", "row"),
        [
            (pa.list_(pa.list_(pa.float32())), (), "a list of lists"),
            (pa.float32(), ("x=[x,y]",), "2 values"),
        ],
        ids=["lists of lists", "stacked"],
    )
    def test_other_columns(self, data_type, entries, row):
        """What is no list of values is refused."""
        problem = _bind(_tensor(), data_type, *entries)
        assert f"one row would be {row}" in problem

    def test_lists_of_arrays(self):
        """Where a value is an array, its lists may be of any type."""
        bound = _bind(_tensor((None, None, 2)), pa.list_(pa.list_(pa.float32())))
        assert bound.row_shape == (-1, 2)

    def test_values_are_cast(self):
        """As those of other inputs are."""
        assert "cast" in str(_bind(_tensor(dtype="int32"), pa.list_(pa.int64())))
        assert "there is no cast" in _bind(_tensor(dtype="int32"), pa.list_(pa.string()))


class TestTensors:
    def _to_ragged(self, array, tensor):
        bound = _bind(tensor, array.type)
        assert isinstance(bound, BoundInput)
        batch = InputBatch(columns=pa.record_batch({"x": array}))
        return to_tensors(batch, Binding(inputs=(bound,)))["x"]

    @pytest.mark.parametrize(
        ("array", "rows"),
        [
            (pa.array([[1.0], [], [2, 3]], pa.list_(pa.float32()))[1:], [[], [2, 3]]),
            (pa.array([[1, 2], [3, 4]], pa.list_(pa.float32(), 2))[1:], [[3, 4]]),
            (pa.array([1, 2, 3], pa.float32())[1:], [[2], [3]]),
        ],
        ids=["lists", "fixed-size lists", "single values"],
    )
    def test_slices(self, array, rows):
        """Rows are those of the slice."""
        found = self._to_ragged(array, _tensor())
        assert isinstance(found, RaggedArray)
        assert [found.row(index).tolist() for index in range(len(found))] == rows

    @pytest.mark.parametrize(
        ("encoding", "width", "message"),
        [
            (SPARSE, 1, "2 values at its row 2, .* takes at most 1 a row"),
            (RAGGED, 1, "0 values at its row 1, .* takes 1 a row"),
        ],
    )
    def test_width(self, encoding, width, message):
        """A sparse tensor has room for so many values, a ragged one wants so many."""
        array = pa.array([[1.0], [], [2, 3]], pa.list_(pa.float32()))
        with pytest.raises(InvalidArgumentError, match=message):
            self._to_ragged(array, _tensor((None, width), encoding=encoding))


class TestOutputs:
    def _plan(self, output, **options):
        outputs = (output, _tensor((None,), encoding=Encoding.DENSE, name="ok"))
        signature = SignatureSpec(name="s", inputs=(), outputs=outputs)
        return plan_outputs(signature, copied=["id"], renames={}, model="m/1", **options)

    @pytest.mark.parametrize("output", [_tensor(), _tensor((None, 9), encoding=SPARSE)], ids=str)
    def test_lists(self, output):
        """What has one list a row is written."""
        assert set(self._plan(output).tensors) == {"x", "ok"}

    @pytest.mark.parametrize(
        "output",
        [_tensor((None, None, None), "composite"), _tensor(encoding=SPARSE)],
        ids=str,
    )
    def test_others(self, output):
        """Lists of lists, and a sparse tensor of any width, are refused with what to do."""
        with pytest.raises(InvalidArgumentError, match=r"output x: .* leave it out with"):
            self._plan(output)

    def test_heads(self):
        """Outputs of several signatures stay ragged."""
        signatures = {
            name: SignatureSpec(name=name, inputs=(_tensor(),), outputs=(_tensor(name="y"),))
            for name in "ab"
        }
        both = find_heads(signatures, "a,b", "m/1", remedy="")
        assert both.inputs == (_tensor(),)
        assert [each.encoding for each in both.outputs] == [RAGGED, RAGGED]


class TestPadding:
    def _options(self, tensor):
        outputs = (_tensor(encoding=Encoding.DENSE, name="y"), _tensor(name="z"))
        signature = SignatureSpec(name="s", inputs=(tensor,), outputs=outputs)
        bound = _bind(tensor, pa.list_(pa.float32()))
        return padding_options(signature, Binding(inputs=(bound,)), {}, ())

    def test_nothing_is_padded(self):
        """Dense outputs of open width may follow the longest row; ragged ones need no cutting."""
        options = self._options(_tensor())
        assert options.unpadded == ("x",)
        assert options.ragged_outputs == {"y"}

    def test_given_width(self):
        """No output follows rows that lie in a tensor of given width."""
        assert self._options(_tensor((None, 9), encoding=SPARSE)).ragged_outputs == set()

    def test_width_is_tried(self):
        """The model is given rows of two lengths, and tells which outputs follow."""
        widths = []

        def run(inputs):
            (width,) = inputs["x"].lengths
            widths.append(width)
            return {"follows": np.zeros((1, width)), "fixed": np.zeros((1, 2))}

        padding = PaddingOptions(unpadded=("x",), ragged_outputs=frozenset({"follows", "fixed"}))
        for rows in ([[1, 2, 3, 4]], [[]]):
            inputs = {"x": RaggedArray.from_rows(rows, "float32")}
            assert without_fixed_outputs(padding, inputs, run).ragged_outputs == {"follows"}
        assert widths == [2, 3, 2, 3]


class TestLogged:
    def _logged(self, encoding, *parts):
        specs = tuple(TensorSpec(name=name, dtype=dtype, shape=None) for name, dtype in parts)
        tensor = TensorSpec(
            name="x", dtype="float32", shape=(None, None), encoding=encoding, parts=specs
        )
        rows = RaggedArray.from_rows([[9.0], [1.0, 2.0], []], "float32")[1:]
        logged = logged_parts(rows, tensor)
        return {
            name: [each.rows.row(index).tolist() for index in range(2)]
            for name, each in logged.items()
        }

    def test_ragged(self):
        """Each row has splits of its own."""
        assert self._logged(RAGGED, ("x", "float32"), ("x_1", "int32")) == {
            "x": [[1, 2], []],
            "x_1": [[0, 2], [0, 0]],
        }

    def test_sparse(self):
        """Each row is a tensor of one row."""
        parts = ("x", "int64"), ("x_1", "float32"), ("x_2", "int64")
        assert self._logged(SPARSE, *parts) == {
            "x": [[[0, 0], [0, 1]], []],
            "x_1": [[1, 2], []],
            "x_2": [[1, 2], [1, 0]],
        }

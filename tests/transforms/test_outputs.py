import numpy as np
import pyarrow as pa
import pytest

from servable_core.errors import InternalError, InvalidArgumentError
from servable_core.servables.signature import SignatureSpec, TensorSpec
from transforms.outputs import OutputLayout, copied_columns, plan_outputs, to_record_batch

_SIGNATURE = SignatureSpec(
    name="s",
    inputs=(),
    outputs=tuple(TensorSpec(name=name, dtype="float32", shape=(None,)) for name in ("p", "q")),
)


def _plan(copied=(), renames=None):
    return plan_outputs(_SIGNATURE, copied=copied, renames=renames or {}, model="m/1")


class TestPlanOutputs:
    def test_all_outputs(self):
        """Without a choice every output is a column of its name."""
        assert _plan(["id"]) == OutputLayout(copied=("id",), tensors={"p": "p", "q": "q"})

    def test_choice_and_renames(self):
        """A choice keeps its order and its names."""
        layout = _plan(["id"], {"q": "quality", "p": "p"})
        assert list(layout.tensors.items()) == [("q", "quality"), ("p", "p")]

    def test_copied_columns_appear_once(self):
        """A key that is passed through as well is one column."""
        assert _plan(["id", "a", "id"]).copied == ("id", "a")

    @pytest.mark.parametrize(
        ("copied", "renames", "column", "output"),
        [
            (["p"], {}, "p", "p"),
            (["id"], {"p": "id"}, "id", "p"),
            ([], {"p": "same", "q": "same"}, "same", "q"),
            ([], {"p": "q", "q": "q"}, "q", "q"),
        ],
    )
    def test_collisions(self, copied, renames, column, output):
        """Two columns of one name are refused with the flag that renames one of them."""
        with pytest.raises(InvalidArgumentError) as caught:
            _plan(copied, renames)
        assert f"two output columns would be called {column!r}" in str(caught.value)
        assert str(caught.value).endswith(f"--output_tensors={output}=NEW_NAME")

    def test_swapped_names(self):
        """Outputs may trade names."""
        assert _plan([], {"p": "q", "q": "p"}).tensors == {"p": "q", "q": "p"}

    def test_unknown_output(self):
        """An output that does not exist is named with the nearest one."""
        with pytest.raises(InvalidArgumentError, match=r"names 'pp', .* did you mean 'p'"):
            _plan([], {"pp": "x"})


@pytest.mark.parametrize(
    ("key", "passthrough", "expected"),
    [
        ("id", [], ["id"]),
        ("id", ["a"], ["id", "a"]),
        (None, ["a"], ["source_file", "source_row", "a"]),
    ],
)
def test_copied_columns(key, passthrough, expected):
    """A key identifies a row, or else the place that it comes from does."""
    assert copied_columns(key, passthrough) == expected


def _convert(values, num_rows=2):
    """Returns the column that an output becomes."""
    rows = pa.record_batch({"id": list(range(num_rows))})
    layout = OutputLayout(copied=("id",), tensors={"y": "score"})
    batch = to_record_batch(rows, {"y": values}, layout)
    assert batch.schema.names == ["id", "score"]
    assert batch.column("id").to_pylist() == list(range(num_rows))
    return batch.column("score")


class TestToRecordBatch:
    @pytest.mark.parametrize("shape", [(2,), (2, 1)])
    def test_one_value_a_row_is_a_scalar(self, shape):
        """`[N]` and `[N, 1]` are written alike."""
        column = _convert(np.array([1.0, 2.0], np.float32).reshape(shape))
        assert column.type == pa.float32()
        assert column.to_pylist() == [1.0, 2.0]

    @pytest.mark.parametrize("shape", [(2, 3), (2, 2, 2), (2, 1, 1), (2, 1, 3), (2, 3, 1)])
    def test_more_are_nested_lists(self, shape):
        """More values a row are fixed-size lists, nested as the shape is."""
        values = np.arange(np.prod(shape), dtype=np.int64).reshape(shape)
        column = _convert(values)
        expected = pa.int64()
        for size in reversed(shape[1:]):
            expected = pa.list_(expected, size)
        assert column.type == expected
        assert column.to_pylist() == values.tolist()

    @pytest.mark.parametrize("shape", [(2, 0), (2, 0, 3), (2, 3, 0)])
    def test_no_values_a_row(self, shape):
        """Rows of no values keep their number."""
        column = _convert(np.zeros(shape, np.float32))
        assert column.to_pylist() == np.zeros(shape).tolist()

    @pytest.mark.parametrize("shape", [(0,), (0, 1), (0, 3)])
    def test_no_rows(self, shape):
        """A batch without rows has the columns of any other."""
        column = _convert(np.zeros(shape, np.float32), num_rows=0)
        assert len(column) == 0
        filled = _convert(np.zeros((2, *shape[1:]), np.float32))
        assert column.type == filled.type

    @pytest.mark.parametrize(
        ("values", "expected_type"),
        [
            (np.array([b"a", b"\xff"], object), pa.binary()),
            (np.array(["a", "ü"]), pa.string()),
            (np.array([True, False]), pa.bool_()),
            (np.array([1, 2], np.uint8), pa.uint8()),
            (np.array([1, 2], np.float16), pa.float16()),
        ],
    )
    def test_types(self, values, expected_type):
        """Every type of value has its Arrow type."""
        column = _convert(values)
        assert column.type == expected_type
        assert column.to_pylist() == values.tolist()

    @pytest.mark.parametrize("values", [np.zeros(3), np.zeros((1, 2))])
    def test_other_rows(self, values):
        """An output with other rows than the input is never written."""
        with pytest.raises(InternalError, match=r"output 'y' has \d rows for 2 rows of input"):
            _convert(values)

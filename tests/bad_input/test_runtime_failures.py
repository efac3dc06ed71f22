"""What only the rows themselves tell: exit code 1, the unit named, nothing committed for it."""

import shlex

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.cli import main
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from tests.bad_input.conftest import vectors
from tests.models import save_signatures

_NUM_ROWS = 25
_BAD_ROW = 17  # beyond the sample of planning, in unit 3 of 5
_BAD_UNIT = 3


@pytest.fixture(scope="module", name="models")
def _models(tmp_path_factory):
    """Models by name: inputs of one type each, and one that refuses a value."""
    tf = import_tensorflow()
    directory = tmp_path_factory.mktemp("failing")

    def checked(value):
        with tf.control_dependencies([tf.debugging.assert_less(value, 1e6, "value too large")]):
            return {"y": tf.identity(value)}

    makers = {
        "integer": (lambda value: {"y": value}, tf.TensorSpec([None], tf.int32)),
        "float": (lambda value: {"y": value}, tf.TensorSpec([None], tf.float32)),
        "vector": (lambda value: {"y": value}, tf.TensorSpec([None, None], tf.float32)),
        "checked": (checked, tf.TensorSpec([None], tf.float32)),
        "drops_rows": (lambda value: {"y": value[1:]}, tf.TensorSpec([None], tf.float32)),
        "total": (
            lambda value: {"y": value, "total": tf.reduce_sum(value)},
            tf.TensorSpec([None], tf.float32),
        ),
        "only_total": (
            lambda value: {"total": tf.reduce_sum(value)},
            tf.TensorSpec([None], tf.float32),
        ),
    }
    for name, (function, spec) in makers.items():
        save_signatures(directory / name, 1, {"serving_default": (function, {"value": spec})})
    return directory


@pytest.fixture(name="failure")
def _failure(models, write_rows, precompute_args, output, capfd):
    """Runs a job of five units, one of which fails; returns the cause that is told."""

    def run(model, column, *flags):
        data = write_rows(id=range(_NUM_ROWS), value=column)
        path = data.removeprefix("--input=")
        args = [f"--model_base_path={models / model}", data, "--unit_rows=5", *flags]
        code = main(precompute_args(*args))
        captured = capfd.readouterr()
        assert code == 1, captured.err
        assert "Traceback" not in captured.err
        message, kept, resume, *others = captured.err.splitlines()
        assert others == []
        start = f"error: unit {_BAD_UNIT} of 5 ({path}) failed: "
        assert message.startswith(start), message
        assert kept.endswith("when the cause is mended, go on with:")
        assert shlex.split(resume) == [
            *("python", "run_pipeline.py", "precompute"),
            *(f"--output={output}", "--if_exists=resume"),
        ]
        _check_nothing_committed(output)
        return message.removeprefix(start)

    return run


def _check_nothing_committed(output):
    unit = f"{_BAD_UNIT:05d}"
    names = [each.name for each in output.rglob("*") if each.is_file()]
    assert f"unit-{unit}.json" not in names
    assert not [name for name in names if name.startswith(f"part-{unit}")]
    assert not [name for name in names if name in ("_SUCCESS", "_manifest.json")]
    receipts = {name[5:10] for name in names if name.startswith("unit-") and ".json" in name}
    parts = {name[5:10] for name in names if name.startswith("part-")}
    assert parts == receipts
    assert "Traceback" in (output / "_errors" / f"unit-{unit}.txt").read_text()


def _with_bad_row(values, bad):
    values = list(values)
    values[_BAD_ROW] = bad
    return values


class TestValues:
    def test_null(self, failure, tmp_path):
        """A null is told with its column, its file and its row in the file."""
        column = pa.array(_with_bad_row(range(_NUM_ROWS), None), pa.float32())
        assert failure("float", column) == (
            f"column 'value' has 1 nulls in a batch of 5, the first at row {_BAD_ROW} of"
            f" {tmp_path / 'rows.parquet'}, but a tensor has none; fill them with"
            " --on_null=default:VALUE or --preprocess"
        )

    def test_overflow_of_float32(self, failure):
        """A float64 that float32 cannot hold is told, not turned into infinity."""
        column = pa.array(_with_bad_row(np.ones(_NUM_ROWS), 1e300))
        assert failure("float", column) == "column 'value': the value 1e+300 does not fit float32"

    def test_integer_that_float32_cannot_hold(self, failure):
        """An integer that would be rounded is told."""
        column = pa.array(_with_bad_row(range(_NUM_ROWS), 2**24 + 1))
        assert failure("float", column) == "column 'value': the value 16777217 does not fit float32"

    def test_integer_that_does_not_fit(self, failure):
        """An int64 that int32 cannot hold is told, not wrapped around."""
        column = pa.array(_with_bad_row(range(_NUM_ROWS), 2**31))
        assert (
            failure("integer", column) == "column 'value': the value 2147483648 does not fit int32"
        )

    def test_lengths_that_differ(self, failure):
        """Lists of different lengths in a batch are told with two of the lengths."""
        column = pa.array(_with_bad_row([[1.0, 2.0]] * _NUM_ROWS, [1.0]), pa.list_(pa.float32()))
        assert failure("vector", column) == (
            "column 'value' has lists of different lengths (2 and 1 values), but the model takes a"
            " dense tensor; have them padded, with --input_map=TENSOR=mask(value) or TENSOR=len(value)"
            " where the model has such an input, or with --pad_variable_length_inputs"
        )

    def test_null_among_fixed_size_lists(self, failure):
        """A null among lists of fixed size is told with its row, as any other."""
        column = vectors(_with_bad_row([[1.0, 2.0]] * _NUM_ROWS, None), 2)
        assert "column 'value' has 1 nulls in a batch of 5, the first at row 17 of" in failure(
            "vector", column
        )


class TestModels:
    def test_raises(self, failure):
        """A model that raises is told with its signature and its words."""
        column = pa.array(_with_bad_row(np.ones(_NUM_ROWS), 1e7), pa.float32())
        message = failure("checked", column)
        assert message.startswith("row 17 of ")
        assert "parquet: model checked/1, signature 'serving_default': " in message
        assert "assertion failed: [value too large]" in message

    @pytest.mark.parametrize(
        ("model", "remedy"),
        [
            ("total", "leave it out with --output_tensors=y"),
            ("only_total", "the signature returns nothing else, so it cannot be precomputed"),
        ],
    )
    def test_output_without_rows_is_found_before(
        self, models, precompute_args, write_rows, capfd, model, remedy
    ):
        """An output that the signature declares a scalar is told before any worker starts."""
        data = write_rows(id=range(_NUM_ROWS), value=pa.array(np.ones(_NUM_ROWS), pa.float32()))
        assert main(precompute_args(f"--model_base_path={models / model}", data)) == 2
        assert capfd.readouterr().err == (
            f"error: output 'total' of model {model}/1 is a scalar, not one value a row; {remedy}\n"
        )

    @pytest.mark.parametrize("model", ["drops_rows"])
    def test_other_rows_than_it_was_given(self, models, precompute_args, write_rows, capfd, model):
        """A model whose output has other rows than its input fails, whatever unit is first."""
        data = write_rows(id=range(_NUM_ROWS), value=pa.array(np.ones(_NUM_ROWS), pa.float32()))
        assert main(precompute_args(f"--model_base_path={models / model}", data)) == 1
        message = capfd.readouterr().err.splitlines()[0]
        assert "unit 0 of 1" in message
        assert "'y'" in message
        assert "rows" in message


class TestLateRows:
    def test_writers_end_quietly(self, models, precompute_args, write_rows, capfd):
        """A failure after rows were written is one message: no writer complains of its closed file."""
        num_rows = 200_000
        values = np.ones(num_rows)
        values[-1] = 1e300  # overflows float32, far behind the first row group of the output
        data = write_rows(row_group_size=num_rows, id=range(num_rows), value=pa.array(values))
        flags = (f"--model_base_path={models / 'float'}", data, "--max_batch_size=1000")
        assert main(precompute_args(*flags)) == 1
        captured = capfd.readouterr().err
        assert "does not fit float32" in captured
        assert "Exception ignored" not in captured


class TestFunctions:
    @pytest.fixture(name="module", autouse=True)
    def _module(self, tmp_path, monkeypatch):
        name = f"late_failures_{abs(hash(tmp_path))}"
        (tmp_path / f"{name}.py").write_text(
            f"def fails(batch):\n"
            f"    if {_BAD_ROW} in batch.column('id').to_pylist():\n"
            f"        raise ValueError('a bad row')\n"
            f"    return batch\n"
            f"def drops(batch):\n"
            f"    return batch.filter([each != {_BAD_ROW} for each in batch['id'].to_pylist()])\n"
        )
        monkeypatch.syspath_prepend(str(tmp_path))
        return name

    @pytest.mark.parametrize("flag", ["--preprocess", "--postprocess"])
    def test_raises(self, failure, module, flag):
        """A function that fails beyond the sample fails its unit."""
        column = pa.array(np.ones(_NUM_ROWS), pa.float32())
        assert failure("float", column, f"{flag}={module}:fails") == (
            f"{flag}={module}:fails failed: ValueError: a bad row"
        )

    @pytest.mark.parametrize("flag", ["--preprocess", "--postprocess"])
    def test_drops_a_row(self, failure, module, flag):
        """A function that drops a row beyond the sample fails its unit."""
        column = pa.array(np.ones(_NUM_ROWS), pa.float32())
        assert failure("float", column, f"{flag}={module}:drops") == (
            f"{flag}={module}:drops returned 4 rows for 5; it must keep the rows and their order"
        )


class TestInputThatChanges:
    def test_parquet_data_that_are_damaged(self, models, precompute_args, output, tmp_path, capfd):
        """Damage between the footers is found when the rows are read."""
        path = tmp_path / "damaged.parquet"
        table = pa.table(
            {"id": range(_NUM_ROWS), "value": pa.array(range(_NUM_ROWS), pa.float32())}
        )
        pq.write_table(table, path, compression="snappy", use_dictionary=False)
        content = bytearray(path.read_bytes())
        offset = pq.ParquetFile(path).metadata.row_group(0).column(1).data_page_offset
        content[offset : offset + 40] = b"\xff" * 40
        path.write_bytes(bytes(content))
        args = [f"--model_base_path={models}/float", f"--input={path}"]
        assert main(precompute_args(*args)) == 1
        message = capfd.readouterr().err.splitlines()[0]
        assert message.startswith(f"error: unit 0 of 1 ({path}) failed: {path} ")
        assert not (output / "_units").exists()

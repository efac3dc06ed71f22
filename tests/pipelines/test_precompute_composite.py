"""Jobs over models that take and return ragged and sparse tensors: each row as if it were alone."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.cli import main
from pipelines.job_run import JobFailedError
from pipelines.options import PrecomputeOptions
from pipelines.precompute import run
from pipelines.predict import predict
from servable_core.lifecycle import ServableId
from servable_core.runtime.file_system import LocalFileSystem
from servable_core.servables.saved_model.loader import create_saved_model_loader
from servable_core.servables.saved_model.prediction_log import parse_prediction_log
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from servable_core.servables.saved_model.warmup_file import WARMUP_FILE
from tests.composite_models import save_composite, save_session_composite, save_untold
from tests.datasets import write_parquet
from tests.jobs import read_output, run_job
from tests.models import load
from transforms.execution import ExecutionOptions

NUM_ROWS = 240
LIST_TYPES = (pa.list_(pa.float32()), pa.large_list(pa.float64()), pa.list_(pa.int8()))


@pytest.fixture(scope="module", name="path")
def _path(tmp_path_factory):
    return save_composite(tmp_path_factory.mktemp("models") / "composite", 1)


@pytest.fixture(scope="module", name="base")
def _base(path):
    return Path(path).parent


def _rows():
    """Rows of 0 to 50 values."""
    random = np.random.default_rng(0)
    lengths = np.minimum(random.geometric(0.08, NUM_ROWS) - 1, 50)
    assert lengths.min() == 0
    assert lengths.max() > 40
    return [random.integers(-100, 100, length).tolist() for length in lengths]


ROWS = _rows()


def _table(list_type=LIST_TYPES[0], rows=ROWS):
    bias = np.arange(len(rows), dtype=np.float32)
    return pa.table({"id": range(len(rows)), "x": pa.array(rows, list_type), "bias": bias})


@pytest.fixture(scope="module", name="inputs")
def _inputs(tmp_path_factory):
    directory = tmp_path_factory.mktemp("inputs")
    write_parquet(_table(), directory, [110, 0, 130], 50)
    return directory


def _run(base, inputs, output, **options):
    """Runs a job and returns its rows in order."""
    run_job(base, inputs, output, key="id", **options)
    return read_output(output)


def _written(tmp_path, table):
    write_parquet(table, tmp_path / "in", [len(table)], 7)
    return tmp_path / "in"


def _assert_alone(table, path, rows=ROWS):
    """Checks each row against the model that is called with it alone."""
    tf = import_tensorflow()
    function = load(path).signatures["serving_default"]
    assert table["id"].to_pylist() == list(range(len(rows)))
    for index, (row, found) in enumerate(zip(rows, table.to_pylist(), strict=True)):
        values, splits = tf.constant(row, tf.float32), tf.constant([0, len(row)], tf.int64)
        outputs = function(x=values, x_1=splits, bias=tf.constant([float(index)]))
        assert found["total"] == outputs["total"].numpy()[0]
        assert found["num"] == len(row)
        assert found["doubled"] == outputs["doubled"].to_list()[0]
        assert found["padded"] == outputs["padded"].numpy()[0].tolist()


class TestRagged:
    @pytest.mark.parametrize("list_type", LIST_TYPES, ids=str)
    def test_equal_to_the_model_row_by_row(self, base, path, tmp_path, list_type):
        """No padding reaches the model: sums, lengths, ragged outputs are those of single rows."""
        write_parquet(_table(list_type), tmp_path / "in", [110, 0, 130], 50)
        table = _run(base, tmp_path / "in", tmp_path / "out", unit_rows=90)
        assert table["doubled"].type == pa.list_(pa.float32())
        _assert_alone(table, path)

    @pytest.mark.parametrize(
        "execution",
        [
            {"max_batch_size": 1},
            {"max_batch_size": 7},
            {"allowed_batch_sizes": (8, 32)},
            {"max_batch_cells": 100, "num_batch_threads": 3},
        ],
        ids=str,
    )
    def test_any_batch_size(self, base, path, inputs, tmp_path, execution):
        """Neither how rows are batched shows, nor what fills a batch up to an allowed size."""
        options = PrecomputeOptions(
            model_base_path=str(base),
            input=(str(inputs),),
            output=str(tmp_path / "out"),
            key="id",
            execution=ExecutionOptions(**execution),
        )
        manifest = run(options).manifest
        _assert_alone(read_output(tmp_path / "out"), path)
        (batching,) = manifest["batching"].values()
        assert batching["num_cells"] > 0
        assert batching["num_padding_cells"] == 0

    def test_strings(self, base, tmp_path):
        """Lists of strings, also where all of a batch are empty."""
        rows = [["a", "bb"], [], ["ccc"], ["d"] * 30, ["é", ""]] * 10
        words = pa.array(rows, pa.list_(pa.string()))
        inputs = _written(tmp_path, pa.table({"id": range(50), "words": words}))
        found = _run(
            base, inputs, tmp_path / "out", signature_name="words", max_batch_size=1
        ).to_pylist()
        for row, each in zip(rows, found, strict=True):
            words = [word.encode() for word in row]
            assert each["joined"] == b" ".join(words)
            assert each["upper"] == [word.upper() for word in words]

    @pytest.mark.parametrize("list_size", [None, 2], ids=["lists", "fixed-size lists"])
    def test_arrays_in_lists(self, base, tmp_path, list_size):
        """A value may be an array itself; row splits may be int32."""
        rows = [np.arange(2.0 * length).reshape(-1, 2) for length in range(30)]
        item = pa.list_(pa.float32()) if list_size is None else pa.list_(pa.float32(), list_size)
        boxes = pa.array([each.tolist() for each in rows], pa.list_(item))
        inputs = _written(tmp_path, pa.table({"id": range(30), "boxes": boxes}))
        found = _run(base, inputs, tmp_path / "out", signature_name="boxes")
        assert found["moved"].type == pa.list_(pa.list_(pa.float32(), 2))
        for row, each in zip(rows, found.to_pylist(), strict=True):
            assert each["moved"] == (row + 1).tolist()
            assert each["area"] == pytest.approx(1 + (row[:, 0] * row[:, 1]).sum())

    @pytest.mark.parametrize(
        ("column", "totals"),
        [
            (pa.array([[1, 2], [3, 4]], pa.list_(pa.float32(), 2)), [4, 9]),
            (pa.array([5.0, 6.0]), [6, 8]),
        ],
        ids=["fixed-size lists", "single values"],
    )
    def test_rows_of_one_length(self, base, tmp_path, column, totals):
        """Lists of a fixed size are lists; a single value is a list of one."""
        table = pa.table({"id": range(2), "x": column, "bias": np.arange(2, dtype=np.float32)})
        found = _run(base, _written(tmp_path, table), tmp_path / "out")
        assert found["total"].to_pylist() == totals

    def test_default_for_nulls(self, base, path, tmp_path):
        """A null within a list gets the default, a list that is null becomes an empty one."""
        inputs = _written(tmp_path, _table(rows=[[1, None], None, [3]]))
        found = _run(base, inputs, tmp_path / "out", on_null="default:7")
        _assert_alone(found, path, [[1, 7], [], [3]])

    def test_null_names_the_row(self, base, tmp_path):
        """Without a policy a null is an error, with the row that has it."""
        inputs = _written(tmp_path, _table(rows=[[1] * 9, [], [3, None]]))
        with pytest.raises(JobFailedError, match=r"column 'x' .* row 2 of "):
            _run(base, inputs, tmp_path / "out")

    def test_rows_that_are_alike(self, base, path, tmp_path):
        """`--dedupe` knows lists that are alike."""
        rows = [[1, 2], [], [3]] * 20
        table = _table(rows=rows).set_column(2, "bias", pa.array(np.zeros(60, np.float32)))
        found = _run(base, _written(tmp_path, table), tmp_path / "out", dedupe=True)
        assert found["total"].to_pylist() == [4, 1, 4] * 20
        assert found["doubled"].to_pylist() == [[2, 4], [], [6]] * 20

    def test_bad_rows_are_put_aside(self, base, path, tmp_path):
        """The rows that the model refuses are found, and all others written."""
        rows = [list(row) for row in ROWS]
        for bad in (3, 77):
            rows[bad] = [5, 1000]
        inputs = _written(tmp_path, _table(pa.list_(pa.float32()), rows))
        found = _run(base, inputs, tmp_path / "out", on_error="dead_letter", max_batch_size=64)
        good = [index for index in range(NUM_ROWS) if index not in (3, 77)]
        assert found["id"].to_pylist() == good
        assert found["doubled"].to_pylist() == [[2 * each for each in rows[row]] for row in good]
        letters = pq.read_table(tmp_path / "out" / "_dead_letters").to_pylist()
        assert sorted(each["source_row"] for each in letters) == [3, 77]
        assert {each["stage"] for each in letters} == {"predict"}

    def test_deterministic(self, base, path, inputs, tmp_path):
        """The same bytes on every run."""
        outputs = [tmp_path / "a", tmp_path / "b"]
        for output in outputs:
            _run(base, inputs, output, deterministic=True, unit_rows=60)
        _assert_alone(read_output(outputs[0]), path)
        parts = [sorted(output.glob("model_name=*/*/*.parquet")) for output in outputs]
        assert len(parts[0]) > 3
        assert [each.read_bytes() for each in parts[0]] == [each.read_bytes() for each in parts[1]]

    def test_predict(self, base, path):
        """`predict` runs what a job runs, also without rows."""
        table = predict(_table(), str(base), passthrough=["id"])
        _assert_alone(table, path)
        assert predict(_table().slice(0, 0), str(base)).schema.names == [
            "doubled",
            "num",
            "padded",
            "total",
        ]


class TestSparse:
    ROWS = ([4, 5], [], [6] * 10, [7])

    def _inputs(self, tmp_path, rows=ROWS):
        ids = pa.array(rows, pa.list_(pa.int64()))
        return _written(tmp_path, pa.table({"id": range(len(rows)), "ids": ids}))

    def test_given_width(self, base, tmp_path):
        """Values lie in front of their row; a sparse output comes with its zeros."""
        found = _run(base, self._inputs(tmp_path), tmp_path / "out", signature_name="sparse")
        dense = [[*row, *[0] * (10 - len(row))] for row in self.ROWS]
        assert found["dense"].to_pylist() == dense
        assert found["kept"].to_pylist() == dense
        assert found["sum"].to_pylist() == [1 + sum(row) for row in self.ROWS]

    @pytest.mark.parametrize("max_batch_size", [None, 1, 3])
    def test_open_width(self, base, tmp_path, max_batch_size):
        """The tensor is as wide as its longest row; outputs are cut to their own."""
        inputs, output = self._inputs(tmp_path), tmp_path / "out"
        found = _run(base, inputs, output, signature_name="open", max_batch_size=max_batch_size)
        assert found["dense"].to_pylist() == [list(row) for row in self.ROWS]
        assert found["sum"].to_pylist() == [1 + sum(row) for row in self.ROWS]

    def test_row_that_is_too_long(self, base, tmp_path):
        """It is an error that names the row, or with dead letters the one that is put aside."""
        inputs = self._inputs(tmp_path, [[1], [2] * 11, [3]])
        expected = r"column 'ids' has 11 values at row 1 of .*sparse int64 \[None, 10\] takes at most 10 a row"
        with pytest.raises(JobFailedError, match=expected):
            _run(base, inputs, tmp_path / "out", signature_name="sparse")
        options = {"signature_name": "sparse", "on_error": "dead_letter"}
        found = _run(base, inputs, tmp_path / "kept", **options)
        assert found["sum"].to_pylist() == [2, 4]

    def test_graph_of_a_session(self, tmp_path):
        """Its signature has the tensors whole."""
        save_session_composite(tmp_path / "model", 1)
        table = {"id": range(3), "ids": [[1.0, 2.0], [], [3.0]], "tags": [[1], [2, 3], []]}
        inputs = _written(tmp_path, pa.table(table))
        found = _run(tmp_path / "model", inputs, tmp_path / "out")
        assert found["sum"].to_pylist() == [3, 0, 3]
        assert found["num"].to_pylist() == [1, 2, 0]


class TestOtherFormats:
    def _examples(self, tmp_path, rows):
        tf = import_tensorflow()
        with tf.io.TFRecordWriter(str(tmp_path / "in.tfrecord")) as writer:
            for number, row in enumerate(rows):
                example = tf.train.Example()
                feature = example.features.feature
                feature["id"].int64_list.value.append(number)
                feature["x"].float_list.value.extend(row)
                feature["bias"].float_list.value.append(number)
                writer.write(example.SerializeToString())
        return tmp_path / "in.tfrecord"

    def test_lists_that_begin_alike(self, base, path, tmp_path):
        """Features of Examples are lists where lists are wanted, whatever the first 100 have."""
        rows = [[5]] * 120 + [[], [1, 2, 3]]
        found = _run(base, self._examples(tmp_path, rows), tmp_path / "out")
        _assert_alone(found, path, rows)

    def test_json_lines(self, base, tmp_path):
        """Arrays of JSON are lists."""
        lines = ['{"id": 0, "x": [1.0, 2.5], "bias": 0.5}', '{"id": 1, "x": [], "bias": 1.0}']
        (tmp_path / "in.jsonl").write_text("\n".join(lines) + "\n")
        found = _run(base, tmp_path / "in.jsonl", tmp_path / "out")
        assert found["total"].to_pylist() == [5, 2]

    @pytest.mark.parametrize(
        ("signature_name", "column", "parts"),
        [
            ("serving_default", "x", {"x": [1, 2], "x_1": [0, 2]}),
            ("sparse", "ids", {"ids": [[0, 0], [0, 1]], "ids_1": [1, 2], "ids_2": [1, 10]}),
        ],
    )
    def test_logged_requests_are_in_parts(
        self, base, path, tmp_path, signature_name, column, parts
    ):
        """So that a server takes them, and so does a warm-up."""
        table = pa.table({"id": range(2), column: [[1, 2], []], "bias": [0.0, 0.0]})
        run_job(
            base,
            _written(tmp_path, table),
            tmp_path / "out",
            signature_name=signature_name,
            output_format="prediction_log",
            log_inputs=True,
        )
        tf = import_tensorflow()
        (part,) = (tmp_path / "out").glob("model_name=*/*/*")
        records = list(tf.data.TFRecordDataset(str(part)).as_numpy_iterator())
        request = parse_prediction_log(records[0]).predict_log.request
        logged = {name: tf.make_ndarray(each).tolist() for name, each in request.inputs.items()}
        logged.pop("bias", None)
        assert logged == parts
        copy = tmp_path / "copy" / "1"
        shutil.copytree(path, copy)
        (copy / WARMUP_FILE).parent.mkdir(exist_ok=True)
        shutil.copy(part, copy / WARMUP_FILE)
        loader = create_saved_model_loader(ServableId("m", 1), str(copy), LocalFileSystem(), None)
        loader.load()
        loader.unload()


class TestRefusals:
    def _refusal(self, capsys, base, inputs, output, *flags):
        args = [f"--model_base_path={base}", f"--input={inputs}", f"--output={output}", *flags]
        assert main(["precompute", *args]) == 2
        assert not output.exists()
        return capsys.readouterr().err

    def test_lists_of_lists(self, base, inputs, tmp_path, capsys):
        """Planning names the input, and what to do."""
        flags = ["--signature_name=nested"]
        refusal = self._refusal(capsys, base, inputs, tmp_path / "out", *flags)
        assert "input 'x' is ragged [None, None, None]" in refusal
        assert "export a signature with a padded input" in refusal

    def test_parts_that_cannot_be_told(self, inputs, tmp_path, capsys):
        """Rather than a list for values and another one for row splits."""
        save_untold(tmp_path / "untold", 1)
        refusal = self._refusal(capsys, tmp_path / "untold", inputs, tmp_path / "out")
        assert "input 'x' may be a part of a ragged or sparse tensor" in refusal

    def test_mask_of_what_is_not_padded(self, base, inputs, tmp_path, capsys):
        """There is no padding to describe."""
        flags = ["--input_map=bias=len(x)"]
        refusal = self._refusal(capsys, base, inputs, tmp_path / "out", *flags)
        assert "no input is fed with them" in refusal

    def test_pad_value(self, base, inputs, tmp_path, capsys):
        """Nothing is padded, even if all is to be padded that is."""
        flags = ["--pad_variable_length_inputs", "--pad_values=x=1"]
        refusal = self._refusal(capsys, base, inputs, tmp_path / "out", *flags)
        assert "--pad_values names 'x', which is no input that is padded" in refusal

    def test_inspect_shows_the_input_whole(self, base, inputs, capsys):
        """As the user gives it, not in the parts that the model takes."""
        flags = [f"--model_base_path={base}", f"--input={inputs}"]
        assert main(["inspect", *flags, "--signature_name=serving_default"]) == 0
        lines = [each.strip() for each in capsys.readouterr().out.splitlines()]
        assert "input   x: ragged float32 [None, None] <- x" in lines
        assert not any("x_1" in each for each in lines)

"""Jobs that write each output format, with each method, of one signature and of several."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.cli import main
from pipelines.job_run import JobFailedError
from servable_core.errors import InvalidArgumentError
from servable_core.lifecycle import ServableId
from servable_core.runtime.file_system import LocalFileSystem
from servable_core.servables.saved_model.loader import create_saved_model_loader
from servable_core.servables.saved_model.prediction_log import parse_prediction_log, to_array
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from servable_core.servables.saved_model.warmup_file import WARMUP_FILE
from tests.datasets import write_parquet, write_tfrecord
from tests.jobs import read_output, run_job
from tests.models import call_model, save_linear, save_ragged, save_scalars, save_signatures

_NUM_ROWS = 300
_UNITS = 3


@pytest.fixture(scope="module", name="rows")
def _rows():
    random = np.random.default_rng(0)
    features = random.normal(size=(_NUM_ROWS, 4)).astype(np.float32)
    return pa.table(
        {
            "id": np.arange(_NUM_ROWS),
            "name": [f"row {each}" for each in range(_NUM_ROWS)],
            "features": pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), 4),
        }
    )


@pytest.fixture(scope="module", name="inputs")
def _inputs(rows, tmp_path_factory):
    directory = tmp_path_factory.mktemp("in")
    write_parquet(rows, directory, [100, 200], 50)
    return directory


@pytest.fixture(scope="module", name="linear")
def _linear(tmp_path_factory):
    return save_linear(tmp_path_factory.mktemp("models") / "linear", 1)


@pytest.fixture(scope="module", name="scores")
def _scores(rows, linear):
    features = rows["features"].combine_chunks().flatten().to_numpy().reshape(-1, 4)
    return call_model(linear, features=features)["score"]


@pytest.fixture(scope="module", name="heads")
def _heads(tmp_path_factory):
    """A classifier, a regressor and a predictor, each fed with serialized Examples."""
    tf = import_tensorflow()

    def parsed(inputs):
        return tf.io.parse_example(inputs, {"x": tf.io.FixedLenFeature([], tf.float32)})["x"]

    def classify(inputs):
        x = parsed(inputs)
        scores = tf.stack([x, 1 - x], axis=1)
        labels = tf.tile([["yes", "no"]], [tf.shape(x)[0], 1])
        return {"classes": labels, "scores": scores}

    specs = {"inputs": tf.TensorSpec([None], tf.string)}
    signatures = {
        "classify": (classify, specs),
        "likely": (lambda inputs: {"scores": parsed(inputs)[:, None]}, specs),
        "regress": (lambda inputs: {"outputs": 2 * parsed(inputs)[:, None]}, specs),
    }
    return save_signatures(tmp_path_factory.mktemp("models") / "heads", 1, signatures)


@pytest.fixture(scope="module", name="examples")
def _examples(tmp_path_factory):
    directory = tmp_path_factory.mktemp("examples")
    write_tfrecord({"x": np.linspace(0, 1, 50, dtype=np.float32)}, directory / "in.tfrecord")
    return directory


def _run(model, inputs, output, **options):
    return run_job(Path(model).parent, inputs, output, max_batch_size=32, **options)


def _parts(output):
    return sorted(Path(output).glob("model_name=*/model_version=*/*"))


def _logs(part):
    tf = import_tensorflow()
    records = tf.data.TFRecordDataset(str(part)).as_numpy_iterator()
    return [parse_prediction_log(each).predict_log for each in records]


def _warm_up(part, model, copy):
    """Loads a copy of the model with the part as its requests."""
    shutil.copytree(model, copy)
    (copy / WARMUP_FILE).parent.mkdir(exist_ok=True)
    shutil.copy(part, copy / WARMUP_FILE)
    loader = create_saved_model_loader(ServableId("m", 1), str(copy), LocalFileSystem(), None)
    loader.load()
    loader.unload()


def _features(parts, compression):
    tf = import_tensorflow()
    records = tf.data.TFRecordDataset([str(each) for each in parts], compression)
    return [
        tf.train.Example.FromString(each).features.feature for each in records.as_numpy_iterator()
    ]


class TestFormats:
    @pytest.mark.parametrize(
        ("output_format", "suffix", "compression"),
        [("tfrecord", ".tfrecord", ""), ("tfrecord_gzip", ".tfrecord.gz", "GZIP")],
    )
    def test_examples(self, linear, inputs, scores, tmp_path, output_format, suffix, compression):
        """Each row is an Example with its key, its pass-through columns and its score."""
        report = _run(
            linear,
            inputs,
            tmp_path / "out",
            key="id",
            passthrough=("name",),
            output_format=output_format,
            unit_rows=100,
        )
        parts = _parts(tmp_path / "out")
        assert [each.name for each in parts] == [
            f"part-{each:05d}-of-{_UNITS:05d}{suffix}" for each in range(_UNITS)
        ]
        rows = _features(parts, compression)
        assert [each["id"].int64_list.value[0] for each in rows] == list(range(_NUM_ROWS))
        names = [each["name"].bytes_list.value[0].decode() for each in rows]
        assert names == [f"row {each}" for each in range(_NUM_ROWS)]
        written = [each["score"].float_list.value[0] for each in rows]
        np.testing.assert_allclose(written, scores[:, 0], rtol=1e-5, atol=1e-6)
        assert report.manifest["rows"] == _NUM_ROWS

    def test_json_lines(self, linear, inputs, scores, tmp_path):
        """Each row is a line."""
        _run(linear, inputs, tmp_path / "out", key="id", output_format="jsonl")
        (part,) = _parts(tmp_path / "out")
        assert part.suffix == ".jsonl"
        rows = [json.loads(each) for each in part.read_text().splitlines()]
        assert [each["id"] for each in rows] == list(range(_NUM_ROWS))
        written = [each["score"] for each in rows]
        np.testing.assert_allclose(written, scores[:, 0], rtol=1e-5, atol=1e-6)

    def test_prediction_log(self, linear, inputs, rows, scores, tmp_path):
        """Each row is a log in the input's order, and the part is a warm-up file of the model."""
        _run(linear, inputs, tmp_path / "out", output_format="prediction_log", log_inputs=True)
        (part,) = _parts(tmp_path / "out")
        logs = _logs(part)
        features = [to_array("features", each.request.inputs["features"]) for each in logs]
        written = [to_array("score", each.response.outputs["score"]) for each in logs]
        assert np.concatenate(features).tolist() == rows["features"].to_pylist()
        np.testing.assert_allclose(np.concatenate(written), scores, rtol=1e-5, atol=1e-6)
        spec = logs[0].response.model_spec
        assert (spec.name, spec.version.value) == ("linear", 1)
        _warm_up(part, linear, tmp_path / "copy")

    def test_responses_alone(self, linear, inputs, tmp_path):
        """Without --log_inputs a log has no request tensors."""
        _run(linear, inputs, tmp_path / "out", output_format="prediction_log", limit=5)
        (part,) = _parts(tmp_path / "out")
        logs = _logs(part)
        assert len(logs) == 5
        assert not any(each.request.inputs for each in logs)

    def test_ragged_requests(self, tmp_path):
        """A request has its row's own length, with the mask and the length that the model needs."""
        model = save_ragged(tmp_path / "ragged", 1)
        rows = [[1, 2, 3], [4], [5, 6], [7] * 20]
        columns = pa.table({"ids": pa.array(rows, pa.list_(pa.int32()))})
        write_parquet(columns, tmp_path / "in", [4], 4)
        input_map = ("mask=mask(ids)", "length=len(ids)")
        _run(
            model,
            tmp_path / "in",
            tmp_path / "out",
            input_map=input_map,
            output_format="prediction_log",
            log_inputs=True,
        )
        (part,) = _parts(tmp_path / "out")
        for row, log in zip(rows, _logs(part), strict=True):
            tensors = log.request.inputs
            asked = {name: to_array(name, each).tolist() for name, each in tensors.items()}
            assert asked == {"ids": [row], "mask": [[1.0] * len(row)], "length": [len(row)]}
            tokens = to_array("tokens", log.response.outputs["tokens"])
            assert tokens.tolist() == [[2 * each + 1 for each in row]]
        _warm_up(part, model, tmp_path / "copy")

    def test_chosen_outputs(self, tmp_path):
        """A log says which outputs were asked for, where that was not all."""
        model = save_ragged(tmp_path / "ragged", 1)
        columns = pa.table({"ids": pa.array([[1], [2]], pa.list_(pa.int32()))})
        write_parquet(columns, tmp_path / "in", [2], 2)
        _run(
            model,
            tmp_path / "in",
            tmp_path / "out",
            signature_name="largest",
            pad_variable_length_inputs=True,
            output_tensors=("most",),
            output_format="prediction_log",
        )
        log = _logs(*_parts(tmp_path / "out"))[0]
        assert list(log.request.output_filter) == list(log.response.outputs) == ["most"]

    def test_a_part_that_was_cut_off_is_found(self, linear, inputs, tmp_path):
        """The last stage counts the rows of every format; a receipt alone does not convince it."""
        for output_format in ("tfrecord", "jsonl"):
            output = tmp_path / output_format
            _run(linear, inputs, output, key="id", output_format=output_format)
            (part,) = _parts(output)
            (output / "_SUCCESS").unlink()
            content = part.read_bytes()
            part.write_bytes(content[: len(content) // 2].ljust(len(content), b"\x00"))
            code = main(["precompute", f"--output={output}", "--if_exists=resume"])
            assert code != 0

    def test_resume(self, linear, inputs, tmp_path):
        """The plan knows the format: a resumed job need not be told, and must not be told another."""
        output = tmp_path / "out"
        _run(linear, inputs, output, key="id", output_format="jsonl", unit_rows=100)
        (output / "_SUCCESS").unlink()
        _parts(output)[0].unlink()
        assert main(["precompute", f"--output={output}", "--if_exists=resume"]) == 0
        assert len(_parts(output)) == _UNITS
        other = [f"--output={output}", "--if_exists=resume", "--output_format=tfrecord"]
        assert main(["precompute", *other]) == 2


class TestMethods:
    def test_classify(self, heads, examples, tmp_path):
        """Classes and scores are lists of each row."""
        options = {"signature_name": "classify", "method": "classify"}
        _run(heads, examples, tmp_path / "out", **options)
        table = read_output(tmp_path / "out", "source_row")
        scores = np.array(table["scores"].to_pylist())
        x = np.linspace(0, 1, 50)
        np.testing.assert_allclose(scores, np.stack([x, 1 - x], axis=1), atol=1e-6)
        assert table["classes"].to_pylist() == [[b"yes", b"no"]] * 50

    def test_classify_one_class(self, heads, examples, tmp_path):
        """One score is a list of one."""
        _run(heads, examples, tmp_path / "out", signature_name="likely", method="classify")
        table = read_output(tmp_path / "out", "source_row")
        assert pa.types.is_list(table["scores"].type)
        assert [len(each) for each in table["scores"].to_pylist()] == [1] * 50

    def test_regress(self, heads, examples, tmp_path):
        """The value is a number of each row."""
        _run(heads, examples, tmp_path / "out", signature_name="regress", method="regress")
        values = read_output(tmp_path / "out", "source_row")["value"].to_numpy()
        np.testing.assert_allclose(values, np.linspace(0, 2, 50), atol=1e-6)

    def test_a_signature_of_another_method(self, heads, examples, tmp_path):
        """A method that the signature is not for is refused before anything is written."""
        with pytest.raises(InvalidArgumentError, match="'outputs' is expected"):
            _run(heads, examples, tmp_path / "out", signature_name="classify", method="regress")
        assert not (tmp_path / "out" / "_plan").exists()


class TestHeads:
    def test_several_signatures(self, heads, examples, tmp_path):
        """One read, one part: the columns of each signature begin with its name."""
        _run(heads, examples, tmp_path / "out", signature_name="classify,regress")
        (part,) = _parts(tmp_path / "out")
        table = pq.ParquetFile(part).read()
        assert table.column_names == [
            "source_file",
            "source_row",
            "classify_classes",
            "classify_scores",
            "regress_outputs",
        ]
        assert table.num_rows == 50
        x = np.linspace(0, 1, 50)
        np.testing.assert_allclose(table["regress_outputs"].to_numpy(), 2 * x, atol=1e-6)
        scores = np.array(table["classify_scores"].to_pylist())
        np.testing.assert_allclose(scores[:, 0], x, atol=1e-6)

    def test_dry_run(self, heads, examples, tmp_path, capsys):
        """A dry run shows what each signature is fed, and the columns of all."""
        code = main(
            [
                "precompute",
                f"--model_base_path={Path(heads).parent}",
                f"--input={examples}",
                f"--output={tmp_path}/out",
                "--signature_name=regress,likely",
                "--dry_run",
            ]
        )
        printed = capsys.readouterr().out
        assert code == 0
        assert "regress_outputs" in printed
        assert "likely_scores" in printed

    def test_chosen_outputs(self, heads, examples, tmp_path):
        """Outputs of several signatures are chosen and renamed as those of one."""
        options = {"output_tensors": ("regress_outputs=twice", "likely_scores")}
        _run(heads, examples, tmp_path / "out", signature_name="likely,regress", **options)
        table = read_output(tmp_path / "out", "source_row")
        twice, once = table["twice"].to_numpy(), table["likely_scores"].to_numpy()
        np.testing.assert_allclose(twice, 2 * once, atol=1e-6)

    def test_a_signature_that_is_not_there(self, heads, examples, tmp_path):
        """Each of the names must be a signature."""
        with pytest.raises(Exception, match="has no signature 'rank'"):
            _run(heads, examples, tmp_path / "out", signature_name="classify,rank")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output_format": "csv"}, "--output_format must be one of"),
        ({"method": "rank"}, "--method must be one of"),
        ({"log_inputs": True}, "--log_inputs is for"),
        ({"output_format": "prediction_log", "key": "id"}, "does not go with --key"),
        (
            {"output_format": "prediction_log", "signature_name": "a,b"},
            "does not go with --signature_name=a,b",
        ),
        ({"signature_name": "a,b", "method": "classify"}, "--method=classify is for one signature"),
        ({"signature_name": "a,a"}, "names 'a' twice"),
    ],
)
def test_flags_that_do_not_go_together(tmp_path, options, message):
    """Flags that contradict each other are refused before anything is read."""
    with pytest.raises(InvalidArgumentError, match=message):
        run_job(tmp_path, tmp_path, tmp_path / "out", **options)


class TestValuesThatAnExampleLacks:
    """Integers beyond int64, floats beyond float32, and nulls in lists, in columns that are copied."""

    @pytest.fixture(name="inputs")
    def _inputs(self, tmp_path):
        num_rows = 40
        counts = [2**64 - 1 if row == 7 else row for row in range(num_rows)]
        sizes = [1e300 if row == 21 else float(row) for row in range(num_rows)]
        lists = [[1, None] if row == 33 else [row] for row in range(num_rows)]
        columns = {
            "id": pa.array(range(num_rows)),
            "x": pa.array(np.ones(num_rows, np.float32)),
            "count": pa.array(counts, pa.uint64()),
            "size": pa.array(sizes, pa.float64()),
            "list": pa.array(lists, pa.list_(pa.int64())),
        }
        pq.write_table(pa.table(columns), tmp_path / "rows.parquet")
        return tmp_path / "rows.parquet"

    @pytest.mark.parametrize("output_format", ["tfrecord", "tfrecord_gzip"])
    def test_rows_are_put_aside(self, inputs, tmp_path, output_format):
        """Exactly these, with what was wrong; all others are written."""
        save_scalars(tmp_path / "m", 1, ["x"])
        report = run_job(
            tmp_path / "m",
            inputs,
            tmp_path / "out",
            key="id",
            passthrough=("count", "size", "list"),
            output_format=output_format,
            on_error="dead_letter",
        )
        assert report.manifest["dead_letters"] == {"write": 3}
        assert report.manifest["models"][0]["rows"] == 37
        letters = pq.read_table(tmp_path / "out" / "_dead_letters")
        assert letters["source_row"].to_pylist() == [7, 21, 33]
        assert set(letters["stage"].to_pylist()) == {"write"}

    def test_without_dead_letters_the_unit_fails(self, inputs, tmp_path):
        """By default a record that fails stops the job."""
        save_scalars(tmp_path / "m", 1, ["x"])
        options = {"key": "id", "passthrough": ("count",), "output_format": "tfrecord"}
        with pytest.raises(JobFailedError, match="'count' is uint64 with a value beyond int64"):
            run_job(tmp_path / "m", inputs, tmp_path / "out", **options)

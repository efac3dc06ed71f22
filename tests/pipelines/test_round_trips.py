"""Data of every type through a job and back: by other readers, as another job's input, as warm-up requests."""

import json
import shutil
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from pipelines.cli import main
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from servable_core.servables.saved_model.warmup_file import WARMUP_FILE
from tests.jobs import read_output, run_job
from tests.models import save_identity
from tests.transforms.formats.arrow_columns import ALL

_ROWS = 3
_VERSIONS = (1, 12)
# Without a null in a list of fixed size, which Parquet's readers fail on, and so does a job.
_COPIED = {name: each for name, each in ALL.items() if name != "null_fixed_list"}
_DTYPES = (
    "bool",
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
)
# What DuckDB has no type for, and reads as: durations as integers, and maps as dictionaries.
_DUCKDB_MEANS = {
    "duration": lambda each: each // pd.Timedelta(1, "ms"),
    "map": lambda each: None if each is None else dict(each),
}


def _is_equal(found, expected):
    return json.dumps(found, default=str) == json.dumps(expected, default=str)


@pytest.fixture(scope="module", name="model")
def _model(tmp_path_factory):
    """Returns a base path with two versions, which return what they are given."""
    base = tmp_path_factory.mktemp("models") / "echo: a+b=c"
    for version in _VERSIONS:
        save_identity(base, version, [*_DTYPES, "string"])
    return base


def _fed_columns():
    """Returns a column for each type of tensor, with its limits."""
    columns = {}
    for name in _DTYPES:
        dtype = np.dtype(name)
        if dtype.kind in "iu":
            limits = [np.iinfo(dtype).min, 7, np.iinfo(dtype).max]
        elif dtype.kind == "f":
            limits = [-np.finfo(dtype).max, np.finfo(dtype).tiny, np.inf]
        else:
            limits = [False, True, True]
        columns[name] = pa.array(np.array(limits, dtype))
    return {**columns, "string": pa.array([b"", b"\x00\xff", "日本".encode()])}


@pytest.fixture(scope="module", name="data")
def _data(tmp_path_factory):
    """Returns a Parquet file with all columns that are fed, and all that are copied."""
    path = tmp_path_factory.mktemp("data") / "in.parquet"
    copied = {f"copied_{name}": each for name, each in _COPIED.items()}
    pq.write_table(pa.table({"id": range(_ROWS), **_fed_columns(), **copied}), path)
    return path


def _run(
    model, data, output, *, output_format="parquet", copied=(), model_version="all", outputs=()
):
    run_job(
        model,
        data,
        output,
        key="id",
        model_version=model_version,
        passthrough=tuple(f"copied_{name}" for name in copied),
        output_format=output_format,
        output_tensors=tuple(outputs),
    )


@pytest.fixture(scope="module", name="parquet")
def _parquet(model, data, tmp_path_factory):
    """Returns the output directory of a job that feeds and copies every type."""
    output = tmp_path_factory.mktemp("parquet") / "output"
    _run(model, data, output, copied=_COPIED)
    return output


class TestReadersOfParquet:
    def test_pyarrow(self, parquet, data):
        """Both versions' rows, each type as pyarrow reads it from the input, and typed partitions."""
        table = read_output(parquet, ["model_version", "id"])
        given = pq.read_table(data)
        assert table["id"].to_pylist() == [0, 1, 2] * 2
        assert table["model_version"].to_pylist() == [1, 1, 1, 12, 12, 12]
        assert pa.types.is_integer(table.schema.field("model_version").type)
        assert set(table["model_name"].to_pylist()) == {"echo: a+b=c"}
        for name in _COPIED:
            found, expected = table[f"copied_{name}"], given[f"copied_{name}"]
            assert found.to_pylist() == expected.to_pylist() * 2, name
            assert found.type == expected.type, name

    def test_outputs_have_the_type_of_their_tensor(self, parquet):
        """What went in as a number of some width comes out as one of that width, to its limits."""
        table = read_output(parquet, ["model_version", "id"])
        for name, given in _fed_columns().items():
            found = table[f"{name}_out"]
            assert found.type == given.type, name
            assert found.to_pylist() == given.to_pylist() * 2, name

    def test_pandas(self, parquet):
        """The directory is one frame; each column has what its Parquet file has."""
        frame = pd.read_parquet(parquet)
        assert sorted(frame["id"]) == [0, 0, 1, 1, 2, 2]
        assert frame["model_version"].astype(int).tolist() == [1, 1, 1, 12, 12, 12]
        for name in ("int64", "uint8", "float32", "bool"):
            assert frame[f"{name}_out"].tolist() == _fed_columns()[name].to_pylist() * 2
        assert [each.tolist() for each in frame["copied_fixed_list"][:3]] == [
            [1, 2],
            [3, 4],
            [5, 6],
        ]
        assert frame["copied_null_string"].isna().tolist() == [True, False, False] * 2

    def test_duckdb(self, parquet, data):
        """Partitions are typed, and every column has the values that pyarrow sees."""
        glob = f"{parquet}/model_name=*/*/*.parquet"
        query = f"SELECT * FROM read_parquet('{glob}', hive_partitioning = true) ORDER BY model_version, id"
        with duckdb.connect() as connection:
            rows = connection.sql(query)
            types = dict(zip(rows.columns, map(str, rows.types), strict=True))
            found = dict(zip(rows.columns, zip(*rows.fetchall(), strict=True), strict=True))
        assert (types["model_version"], types["model_name"]) == ("BIGINT", "VARCHAR")
        assert found["model_version"] == (1, 1, 1, 12, 12, 12)
        given = pq.read_table(data)
        for name in _COPIED:
            means = _DUCKDB_MEANS.get(name, lambda each: each)
            expected = [means(each) for each in given[f"copied_{name}"].to_pylist()] * 2
            assert _is_equal(list(found[f"copied_{name}"]), expected), name

    def test_duckdb_reads_one_version(self, parquet):
        """A condition on a partition column chooses files."""
        query = f"SELECT count(*) FROM read_parquet('{parquet}/model_name=*/*/*.parquet') WHERE model_version = 12"
        with duckdb.connect() as connection:
            assert connection.sql(query).fetchall() == [(_ROWS,)]

    def test_side_files_are_not_read_as_rows(self, parquet):
        """Plans, receipts and manifests lie beside the rows, and no reader takes them for rows."""
        assert {each.name for each in parquet.iterdir()} > {"_plan", "_units", "_SUCCESS"}
        assert ds.dataset(parquet, partitioning="hive").count_rows() == 2 * _ROWS
        assert len(pd.read_parquet(parquet)) == 2 * _ROWS


class TestOutputAsInput:
    @pytest.mark.parametrize("output_format", ["parquet", "tfrecord", "tfrecord_gzip", "jsonl"])
    def test_a_second_job_gets_the_first_one_s_values(self, model, data, tmp_path, output_format):
        """What one job writes another reads: the same values come back, in every format."""
        names = _names_that_survive(output_format)
        _run(
            model,
            data,
            tmp_path / "first",
            output_format=output_format,
            model_version="1",
            outputs=[f"{name}_out" for name in names],
        )
        again = save_identity(tmp_path / "again", 1, names)
        run_job(
            Path(again).parent,
            tmp_path / "first/model_name=echo%3A%20a%2Bb%3Dc/model_version=1",
            tmp_path / "second",
            key="id",
            input_map=tuple(f"{name}={name}_out" for name in names),
        )
        table = read_output(tmp_path / "second")
        assert table["id"].to_pylist() == list(range(_ROWS))
        for name in names:
            assert table[f"{name}_out"].to_pylist() == _fed_columns()[name].to_pylist(), name


def _names_that_survive(output_format):
    """Returns the types of whose values a format loses nothing."""
    if output_format == "parquet":
        return [*_DTYPES, "string"]
    if output_format == "jsonl":  # it has integers of 64 bits, and text
        return [each for each in _DTYPES if each not in ("uint64", "float16")]
    return [
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "bool",
        "float32",
        "string",
    ]


class TestWarmUp:
    def test_a_log_of_every_type_warms_up_its_model(self, model, data, tmp_path):
        """Read by TensorFlow Serving's protos, a log is what was asked; as a warm-up file it loads."""
        tf = import_tensorflow()
        from tensorflow_serving.apis import prediction_log_pb2

        run_job(
            model,
            data,
            tmp_path / "log",
            model_version="12",
            output_format="prediction_log",
            log_inputs=True,
        )
        (part,) = (tmp_path / "log").glob("model_name=*/model_version=12/*.tfrecord")
        records = tf.data.TFRecordDataset(str(part)).as_numpy_iterator()
        logs = [prediction_log_pb2.PredictionLog.FromString(each).predict_log for each in records]
        assert len(logs) == _ROWS
        for name, given in _fed_columns().items():
            asked = [tf.make_ndarray(each.request.inputs[name]).tolist() for each in logs]
            answered = [
                tf.make_ndarray(each.response.outputs[f"{name}_out"]).tolist() for each in logs
            ]
            assert asked == answered == [[each] for each in given.to_pylist()], name
        spec = logs[0].request.model_spec
        assert (spec.name, spec.version.value) == ("echo: a+b=c", 12)

        warm = tmp_path / "echo" / "12"
        shutil.copytree(model / "12", warm)
        (warm / WARMUP_FILE).parent.mkdir(exist_ok=True)
        shutil.copy(part, warm / WARMUP_FILE)
        _run(warm.parent, data, tmp_path / "warmed")
        assert read_output(tmp_path / "warmed")["id"].to_pylist() == list(range(_ROWS))

    def test_a_log_of_another_model_fails_the_load(self, model, data, tmp_path, capsys):
        """So it is known to have run: requests that do not fit are an error that names the file."""
        other = Path(save_identity(tmp_path / "other", 1, ["int64"]))
        run_job(
            model,
            data,
            tmp_path / "log",
            model_version="1",
            output_format="prediction_log",
            log_inputs=True,
        )
        (part,) = (tmp_path / "log").glob("model_name=*/model_version=1/*.tfrecord")
        (other / WARMUP_FILE).parent.mkdir(exist_ok=True)
        shutil.copy(part, other / WARMUP_FILE)
        args = [f"--model_base_path={other.parent}", f"--input={data}", f"--output={tmp_path}/x"]
        assert main(["precompute", *args]) == 2
        assert str(WARMUP_FILE) in capsys.readouterr().err

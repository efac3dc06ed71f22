import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.datasets import to_examples, write_parquet, write_tfrecord
from tests.jobs import read_output, run_job, values
from tests.models import (
    call_model,
    save_batch_facts,
    save_examples,
    save_identity,
    save_keras_functional,
    save_linear,
    save_scalars,
    save_text,
)

NUM_ROWS = 300
SCALARS = tuple(f"x{index:02d}" for index in range(20))


@pytest.fixture(scope="module", name="columns")
def _columns():
    random = np.random.default_rng(0)
    columns = {
        "id": random.permutation(NUM_ROWS).astype(np.int64),
        "features": random.normal(size=(NUM_ROWS, 4)).astype(np.float32),
        "name": np.array([f"näme {i}".encode() for i in range(NUM_ROWS)], dtype=object),
    }
    return columns | {name: random.normal(size=NUM_ROWS).astype(np.float32) for name in SCALARS}


def _write(columns, directory, file_rows, compression=""):
    """Writes the rows in order, so many to each file."""
    suffix = ".tfrecord.gz" if compression else ".tfrecord"
    start = 0
    for index, rows in enumerate(file_rows):
        path = directory / f"part-{index}{suffix}"
        write_tfrecord(columns, path, compression=compression, rows=slice(start, start + rows))
        start += rows
    assert start == len(columns["id"])


def _sorted_by_id(columns, array):
    return array[np.argsort(columns["id"])]


# No unit takes a second file. Compressed files are never cut; plain ones are, if they are larger.
UNIT_BYTES = {"": 80_000, "GZIP": 1}
# file_rows, options of the job, units that this makes of files that are not empty
LAYOUTS = {
    "one_file": ([300], {}, 1),
    "unit_spans_files": ([200, 0, 99, 1], {"max_batch_size": 64}, 1),
    "unit_of_each_file": ([120, 0, 180], {"max_batch_size": 7}, None),
}


@pytest.mark.parametrize("compression", ["", "GZIP"])
class TestPlainAndGzip:
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_every_id_once_with_its_prediction(self, compression, layout, columns, tmp_path):
        """Rows of all files come out once, as a direct call on the whole data predicts them."""
        file_rows, options, num_units = LAYOUTS[layout]
        if num_units is None:
            options = options | {"unit_bytes": UNIT_BYTES[compression]}
        path = save_linear(tmp_path / "m", 1)
        _write(columns, tmp_path / "in", file_rows, compression)
        report = run_job(tmp_path / "m", tmp_path / "in", tmp_path / "out", key="id", **options)
        output = read_output(tmp_path / "out")
        assert output["id"].to_pylist() == list(range(NUM_ROWS))
        expected = call_model(path, features=columns["features"])["score"][:, 0]
        np.testing.assert_allclose(
            values(output["score"]), _sorted_by_id(columns, expected), rtol=1e-5, atol=1e-6
        )
        not_empty = [each for each in file_rows if each or compression]  # gzip of nothing has bytes
        assert report.manifest["units"] == (num_units or len(not_empty))
        assert report.rows == NUM_ROWS

    def test_bit_equal_to_direct_calls_on_the_same_batches(self, compression, columns, tmp_path):
        """With `deterministic` batches are cut at fixed rows of a unit that spans files."""
        path = save_batch_facts(tmp_path / "m", 1)
        _write(columns, tmp_path / "in", [130, 0, 170], compression)
        run_job(
            tmp_path / "m",
            tmp_path / "in",
            tmp_path / "out",
            key="id",
            max_batch_size=64,
            deterministic=True,
        )
        output = read_output(tmp_path / "out")
        matrix = columns["features"]
        calls = [
            call_model(path, features=matrix[start : start + 64])
            for start in range(0, NUM_ROWS, 64)
        ]
        for name in ("batch_rows", "batch_first", "score"):
            expected = np.concatenate([each[name] for each in calls])
            found = values(output[name])
            assert found.tobytes() == _sorted_by_id(columns, expected).tobytes()

    def test_source_file_and_row(self, compression, columns, tmp_path):
        """Without a key each row is named by its file and its number in it."""
        path = save_text(tmp_path / "m", 1)
        _write(columns, tmp_path / "in", [120, 180], compression)
        run_job(
            tmp_path / "m",
            tmp_path / "in",
            tmp_path / "out",
            input_map=("text=name",),
            max_batch_size=50,
        )
        output = read_output(tmp_path / "out", ["source_file", "source_row"])
        files = sorted(str(each) for each in (tmp_path / "in").iterdir())
        expected = [(files[0], row) for row in range(120)] + [(files[1], row) for row in range(180)]
        found = list(
            zip(output["source_file"].to_pylist(), output["source_row"].to_pylist(), strict=True)
        )
        assert found == expected
        upper = call_model(path, text=columns["name"])["upper"].tolist()
        assert output["upper"].cast(pa.binary()).to_pylist() == upper

    @pytest.mark.parametrize("limit", [1, 120, 121, 299, 10_000])
    def test_limit(self, compression, limit, columns, tmp_path):
        """`--limit` takes the first rows, across files and inside of them."""
        save_linear(tmp_path / "m", 1)
        _write(columns, tmp_path / "in", [120, 180], compression)
        report = run_job(
            tmp_path / "m",
            tmp_path / "in",
            tmp_path / "out",
            key="id",
            limit=limit,
            max_batch_size=50,
        )
        output = read_output(tmp_path / "out")
        assert output["id"].to_pylist() == sorted(columns["id"][:limit].tolist())
        assert report.rows == min(limit, NUM_ROWS)


class TestInputs:
    def test_many_scalar_inputs(self, columns, tmp_path):
        """Twenty named scalar inputs bind to features of the same names."""
        path = save_scalars(tmp_path / "m", 1, SCALARS)
        _write(columns, tmp_path / "in", [300])
        run_job(tmp_path / "m", tmp_path / "in", tmp_path / "out", key="id", max_batch_size=77)
        expected = call_model(path, **{name: columns[name] for name in SCALARS})["score"]
        np.testing.assert_allclose(
            values(read_output(tmp_path / "out")["score"]),
            _sorted_by_id(columns, expected),
            rtol=1e-5,
            atol=1e-6,
        )

    def test_keras_inputs_of_one_column(self, columns, tmp_path):
        """Scalar features bind to the [None, 1] inputs of a Keras export."""
        path = save_keras_functional(tmp_path / "m", 1, ["x00", "x01"])
        _write(columns, tmp_path / "in", [300])
        run_job(tmp_path / "m", tmp_path / "in", tmp_path / "out", key="id")
        inputs = {name: columns[name].reshape(-1, 1) for name in ("x00", "x01")}
        expected = call_model(path, **inputs)["probability"][:, 0]
        np.testing.assert_allclose(
            values(read_output(tmp_path / "out")["probability"]),
            _sorted_by_id(columns, expected),
            rtol=1e-5,
            atol=1e-6,
        )

    @pytest.mark.parametrize("key", ["id", None])
    def test_serialized_examples(self, key, columns, tmp_path):
        """A rank-1 string input is fed the records as they are, with or without parsed columns."""
        path = save_examples(tmp_path / "m", 2, ["x00", "x01", "x02"])
        _write(columns, tmp_path / "in", [130, 0, 170], "GZIP")
        run_job(
            tmp_path / "m",
            tmp_path / "in",
            tmp_path / "out",
            key=key,
            passthrough=("name",),
            max_batch_size=64,
        )
        output = read_output(tmp_path / "out", key or ["source_file", "source_row"])
        expected = call_model(path, examples=to_examples(columns))["score"]
        names = columns["name"]
        if key is not None:
            expected, names = (_sorted_by_id(columns, each) for each in (expected, names))
        np.testing.assert_allclose(values(output["score"]), expected, rtol=1e-5, atol=1e-6)
        assert output["name"].cast(pa.binary()).to_pylist() == names.tolist()

    def test_serialized_examples_alone(self, columns, tmp_path):
        """Nothing but records, no key and no copied feature: the output still knows its rows."""
        path = save_examples(tmp_path / "m", 1, ["x00"])
        _write(columns, tmp_path / "in", [130, 170])
        run_job(tmp_path / "m", tmp_path / "in", tmp_path / "out", max_batch_size=64)
        output = read_output(tmp_path / "out", ["source_file", "source_row"])
        assert output["source_row"].to_pylist() == [*range(130), *range(170)]
        np.testing.assert_allclose(
            values(output["score"]),
            call_model(path, examples=to_examples(columns))["score"],
            rtol=1e-5,
            atol=1e-6,
        )

    @pytest.mark.parametrize(
        "dtype", ["int8", "int32", "int64", "uint8", "uint64", "bool", "float16", "float64"]
    )
    def test_features_are_cast_to_the_type_of_the_input(self, dtype, tmp_path):
        """Examples know three types only; inputs of other widths get the same values."""
        path = save_identity(tmp_path / "m", 1, [dtype])
        numbers = np.arange(100) % (2 if dtype == "bool" else 100)
        feature = numbers.astype("float32" if dtype.startswith("float") else "int64")
        write_tfrecord({"id": np.arange(100), dtype: feature}, tmp_path / "in/a.tfrecord")
        run_job(tmp_path / "m", tmp_path / "in", tmp_path / "out", key="id")
        found = values(read_output(tmp_path / "out")[f"{dtype}_out"])
        expected = call_model(path, **{dtype: numbers.astype(dtype)})[f"{dtype}_out"]
        assert found.dtype == expected.dtype == np.dtype(dtype)
        assert found.tolist() == expected.tolist()

    def test_both_formats_give_the_same_predictions(self, columns, tmp_path):
        """The same rows as Parquet and as TFRecord have the same ids and predictions."""
        save_linear(tmp_path / "m", 1)
        matrix = columns["features"]
        table = pa.table(
            {
                "id": columns["id"],
                "features": pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), 4),
            }
        )
        write_parquet(table, tmp_path / "parquet", [300], 100)
        _write(columns, tmp_path / "tfrecord", [300], "GZIP")
        for name in ("parquet", "tfrecord"):
            run_job(
                tmp_path / "m",
                tmp_path / name,
                tmp_path / f"out_{name}",
                key="id",
                max_batch_size=64,
                deterministic=True,
            )
        first, second = (read_output(tmp_path / f"out_{each}") for each in ("parquet", "tfrecord"))
        assert first.num_rows == NUM_ROWS
        assert first.equals(second)

    def test_compression_is_told_by_content(self, columns, tmp_path):
        """A gzip file under a plain name is read all the same."""
        save_linear(tmp_path / "m", 1)
        plain = Path(write_tfrecord(columns, tmp_path / "plain/a.tfrecord"))
        (tmp_path / "in").mkdir()
        (tmp_path / "in/a.tfrecord").write_bytes(gzip.compress(plain.read_bytes()))
        report = run_job(tmp_path / "m", tmp_path / "in", tmp_path / "out", key="id")
        assert report.rows == NUM_ROWS
        assert read_output(tmp_path / "out")["id"].to_pylist() == list(range(NUM_ROWS))

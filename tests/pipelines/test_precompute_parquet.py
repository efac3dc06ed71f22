import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.cli import main
from servable_core.errors import InvalidArgumentError
from tests.datasets import write_parquet
from tests.jobs import read_output, run_job, values
from tests.models import call_model, save_batch_facts, save_linear, save_scalars

NUM_ROWS = 1000
SCALARS = ("age", "income", "tenure")


def _table(num_rows=NUM_ROWS):
    random = np.random.default_rng(0)
    features = random.normal(size=(num_rows, 4)).astype(np.float32)
    columns = {
        "id": random.permutation(num_rows).astype(np.int64),
        "features": pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), 4),
        "unused": pa.array(["x" * 10] * num_rows),
    }
    columns |= {name: random.normal(size=num_rows).astype(np.float32) for name in SCALARS}
    return pa.table(columns)


@pytest.fixture(scope="module", name="table")
def _table_fixture():
    return _table()


@pytest.fixture(scope="module", name="models")
def _models(tmp_path_factory):
    """Base paths by name, with the directory of their one version."""
    root = tmp_path_factory.mktemp("models")
    return {
        "linear": save_linear(root / "linear", 1),
        "scalars": save_scalars(root / "scalars", 1, SCALARS),
        "facts": save_batch_facts(root / "facts", 1),
    }


def _base(path):
    return Path(path).parent


def _matrix(table):
    return values(table["features"])


def _unit_rows(plan, file_rows):
    """Returns for each unit the [start, stop) of its rows in the whole data."""
    starts = np.concatenate([[0], np.cumsum(file_rows)])
    bounds = []
    for unit in plan.units:
        first, last = unit.ranges[0], unit.ranges[-1]
        start = starts[first.file_index] + first.first_row
        stop = starts[last.file_index] + last.first_row + last.num_rows
        assert stop - start == unit.num_rows
        bounds.append((start, stop))
    return bounds


# file_rows, row_group_rows, options of the job, units that this makes
LAYOUTS = {
    "one_file": ([1000], 1000, {}, 1),
    "row_groups": ([1000], 130, {"max_batch_size": 64}, 1),
    "unit_of_each_row_group": ([1000], 130, {"max_batch_size": 7, "unit_bytes": 1}, 8),
    "units_span_files": ([300, 0, 700], 100, {"max_batch_size": 64, "unit_rows": 250}, 5),
    "small_files": ([37] * 27 + [1], 1000, {"max_batch_size": 100, "unit_rows": 400}, 3),
    "empty_files_at_both_ends": ([0, 999, 1, 0], 500, {"max_batch_size": 2000}, 1),
}


class TestParquet:
    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_every_id_once_with_its_prediction(self, layout, table, models, tmp_path):
        """However files, row groups, units and batches are cut, the rows and values are the same."""
        file_rows, row_group_rows, options, num_units = LAYOUTS[layout]
        write_parquet(table, tmp_path / "in", file_rows, row_group_rows)
        report = run_job(
            _base(models["linear"]), tmp_path / "in", tmp_path / "out", key="id", **options
        )
        output = read_output(tmp_path / "out")
        assert output.column_names == ["id", "score", "model_name", "model_version"]
        assert output["id"].to_pylist() == list(range(NUM_ROWS))
        expected = call_model(models["linear"], features=_matrix(table))["score"][:, 0]
        order = np.argsort(table["id"].to_numpy())
        np.testing.assert_allclose(values(output["score"]), expected[order], rtol=1e-5, atol=1e-6)
        assert set(output["model_name"].to_pylist()) == {"linear"}
        assert set(output["model_version"].to_pylist()) == {1}
        assert report.rows == NUM_ROWS
        assert report.manifest["units"] == num_units
        parts = sorted((tmp_path / "out/model_name=linear/model_version=1").iterdir())
        assert [each.name for each in parts] == [
            f"part-{index:05d}-of-{num_units:05d}.parquet" for index in range(num_units)
        ]

    def test_a_unit_spans_files(self, table, models, tmp_path):
        """Neighbouring row groups of two files make one unit, whose part has the rows of both."""
        file_rows = [300, 0, 700]
        write_parquet(table, tmp_path / "in", file_rows, 100)
        report = run_job(
            _base(models["linear"]), tmp_path / "in", tmp_path / "out", key="id", unit_rows=250
        )
        files = [[each.file_index for each in unit.ranges] for unit in report.plan.units]
        assert files == [[0], [0, 2], [2], [2], [2]]
        part = tmp_path / "out/model_name=linear/model_version=1/part-00001-of-00005.parquet"
        assert pq.read_table(part)["id"].to_pylist() == table["id"].to_pylist()[200:400]

    def test_named_scalar_inputs_bind_by_name(self, table, models, tmp_path):
        """Each [None] input takes the column of its name; columns of no use are left out."""
        write_parquet(table, tmp_path / "in", [600, 400], 250)
        code = main(
            [
                "precompute",
                f"--model_base_path={_base(models['scalars'])}",
                f"--input={tmp_path}/in/*.parquet",
                "--key=id",
                f"--output={tmp_path}/out",
                "--max_batch_size=99",
            ]
        )
        assert code == 0
        output = read_output(tmp_path / "out")
        inputs = {name: table[name].to_numpy() for name in SCALARS}
        expected = call_model(models["scalars"], **inputs)["score"]
        order = np.argsort(table["id"].to_numpy())
        assert output["id"].to_pylist() == list(range(NUM_ROWS))
        np.testing.assert_allclose(values(output["score"]), expected[order], rtol=1e-5, atol=1e-6)

    def test_pandas_reads_the_directory(self, table, models, tmp_path):
        """`pandas.read_parquet` on the output directory gives the rows and the partition columns."""
        write_parquet(table, tmp_path / "in", [1000], 250)
        run_job(_base(models["linear"]), tmp_path / "in", tmp_path / "out", key="id")
        frame = pd.read_parquet(tmp_path / "out")
        assert sorted(frame["id"]) == list(range(NUM_ROWS))
        assert set(frame["model_version"].astype(int)) == {1}
        assert set(frame["model_name"]) == {"linear"}

    def test_one_row(self, models, tmp_path):
        """A data set of one row works as any other."""
        table = _table(1)
        write_parquet(table, tmp_path / "in", [1], 1)
        run_job(_base(models["linear"]), tmp_path / "in", tmp_path / "out", key="id")
        expected = call_model(models["linear"], features=_matrix(table))["score"]
        np.testing.assert_allclose(
            values(read_output(tmp_path / "out")["score"]), expected[:, 0], rtol=1e-5, atol=1e-6
        )

    def test_no_batch_exceeds_the_size_asked_for(self, table, models, tmp_path):
        """`--max_batch_size` bounds each model call, also where rows of several units are merged."""
        write_parquet(table, tmp_path / "in", [1000], 50)
        run_job(
            _base(models["facts"]),
            tmp_path / "in",
            tmp_path / "out",
            key="id",
            unit_rows=50,
            max_batch_size=70,
        )
        rows = values(read_output(tmp_path / "out")["batch_rows"])
        assert len(rows) == NUM_ROWS
        assert 1 <= rows.min() <= rows.max() <= 70


class TestFilesThatDiffer:
    @pytest.fixture(name="job")
    def _job(self, models, tmp_path):
        """Runs a job over tables, one file each, and returns its output."""

        def job(*tables, **options):
            (tmp_path / "in").mkdir()
            for index, table in enumerate(tables):
                pq.write_table(table, tmp_path / f"in/{index}.parquet")
            options = {"key": "id", "max_batch_size": 4} | options
            run_job(_base(models["scalars"]), tmp_path / "in", tmp_path / "out", **options)
            return read_output(tmp_path / "out", options["key"])

        return job

    def _columns(self, first, last, **changed):
        ids = list(range(first, last))
        values = {name: np.arange(first, last, dtype=np.float32) for name in SCALARS}
        return {"id": ids} | values | changed

    def _assert_scores(self, output, models, num_rows):
        numbers = np.arange(num_rows, dtype=np.float32)
        expected = call_model(models["scalars"], **dict.fromkeys(SCALARS, numbers))["score"]
        assert output["id"].to_pylist() == list(range(num_rows))
        np.testing.assert_allclose(values(output["score"]), expected, rtol=1e-6)

    def test_order_of_columns_and_further_columns(self, job, models):
        """Files may have columns in another order, and columns that others lack."""
        first = self._columns(0, 3)
        second = {"other": [1] * 3} | dict(reversed(self._columns(3, 6).items()))
        self._assert_scores(job(pa.table(first), pa.table(second)), models, 6)

    def test_columns_marked_as_required(self, job, models):
        """Whether a writer marked columns as never null makes no difference."""
        first, second = pa.table(self._columns(0, 3)), pa.table(self._columns(3, 6))
        required = pa.schema([each.with_nullable(False) for each in first.schema])
        self._assert_scores(job(first.cast(required), second), models, 6)

    @pytest.mark.parametrize("empty", [{}, {"id": [], "age": []}])
    def test_file_without_rows_and_types(self, empty, job, models):
        """A file without rows may lack types, as writers of empty files often cannot tell them."""
        untyped = pa.table({name: pa.array(each, pa.null()) for name, each in empty.items()})
        self._assert_scores(job(untyped, pa.table(self._columns(0, 5))), models, 5)

    @pytest.mark.parametrize(("name", "dtype"), [("id", "int32"), ("age", "float64")])
    def test_one_column_of_two_types_is_refused(self, name, dtype, job, tmp_path):
        """A column that changes its type from file to file is an error before anything is run."""
        second = self._columns(3, 6)
        second[name] = np.asarray(second[name]).astype(dtype)
        with pytest.raises(InvalidArgumentError, match=f"column '{name}' is .* in some of the"):
            job(pa.table(self._columns(0, 3)), pa.table(second))
        assert not (tmp_path / "out").exists()

    def test_category_of_different_values(self, job, models):
        """A dictionary-encoded column is copied though each file has a dictionary of its own."""
        tables = [
            pa.table(self._columns(*rows, kind=pa.array(kinds).dictionary_encode()))
            for rows, kinds in (((0, 5), list("xyxyx")), ((5, 8), list("zxz")))
        ]
        output = job(*tables, passthrough=("kind",))
        self._assert_scores(output, models, 8)
        assert output["kind"].to_pylist() == list("xyxyxzxz")

    def test_column_named_like_a_partition_is_refused(self, job):
        """`model_name` comes from the directories, so no column of a part may be called so."""
        table = pa.table(self._columns(0, 3, model_name=["a"] * 3))
        with pytest.raises(InvalidArgumentError, match="'model_name' cannot be copied"):
            job(table, passthrough=("model_name",))

    def test_output_named_like_a_partition_is_refused(self, job):
        """The same of the model's outputs, with the flag that helps."""
        with pytest.raises(InvalidArgumentError, match="--output_tensors=score=NEW_NAME"):
            job(pa.table(self._columns(0, 3)), output_tensors=("score=model_version",))

    def test_odd_model_name_is_read_back(self, job):
        """Signs that mean something in a path are escaped, as readers of such directories expect."""
        name = "a/b=c %20 é"
        output = job(pa.table(self._columns(0, 3)), model_name=name)
        assert set(output["model_name"].to_pylist()) == {name}


class TestDeterministic:
    FILE_ROWS = (333, 0, 667)

    def _run(self, table, models, tmp_path, name="out"):
        if not (tmp_path / "in").exists():
            write_parquet(table, tmp_path / "in", self.FILE_ROWS, 100)
        return run_job(
            _base(models["facts"]),
            tmp_path / "in",
            tmp_path / name,
            key="id",
            unit_rows=300,
            max_batch_size=64,
            deterministic=True,
        )

    def test_bit_equal_to_direct_calls_on_the_same_batches(self, table, models, tmp_path):
        """Batches are cut every 64 rows of a unit, and each value is exactly that of a direct call."""
        report = self._run(table, models, tmp_path)
        matrix, ids = _matrix(table), table["id"].to_numpy()
        units = _unit_rows(report.plan, self.FILE_ROWS)
        assert len(units) > 3
        for index, (start, stop) in enumerate(units):
            part = pq.read_table(
                tmp_path
                / f"out/model_name=facts/model_version=1/part-{index:05d}-of-{len(units):05d}.parquet"
            )
            assert part["id"].to_pylist() == ids[start:stop].tolist()
            calls = [
                call_model(models["facts"], features=matrix[first : min(first + 64, stop)])
                for first in range(start, stop, 64)
            ]
            for name in ("batch_rows", "batch_first", "score"):
                expected = np.concatenate([each[name] for each in calls])
                assert values(part[name]).tobytes() == expected.tobytes()

    def test_runs_give_the_same_bytes(self, table, models, tmp_path):
        """Two runs of one deterministic job write identical data files."""
        self._run(table, models, tmp_path, "first")
        self._run(table, models, tmp_path, "second")
        first, second = (_digests(tmp_path / name) for name in ("first", "second"))
        assert len(first) > 3
        assert first == second


def _digests(output):
    return {
        str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in output.glob("model_name=*/model_version=*/*.parquet")
    }

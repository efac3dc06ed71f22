from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipelines.cli import main
from pipelines.job_run import JobFailedError
from servable_core.errors import ServableCoreError
from tests.datasets import write_parquet, write_tfrecord
from tests.jobs import read_output, run_job, values
from tests.models import (
    call_model,
    save_examples,
    save_linear,
    save_scalars,
)

NUM_ROWS = 400
FUNCTIONS = "tests.pipelines.batch_functions"


@pytest.fixture(scope="module", name="table")
def _table():
    random = np.random.default_rng(0)
    columns = {
        "id": [f"user-{index:04d}" for index in random.permutation(NUM_ROWS)],
        "country": ["de", "fr", None, "it"] * (NUM_ROWS // 4),
        "label": random.integers(0, 2, NUM_ROWS),
    }
    columns |= {name: random.uniform(1, 2, NUM_ROWS).astype(np.float32) for name in "abcd"}
    return pa.table(columns)


@pytest.fixture(scope="module", name="inputs")
def _inputs(table, tmp_path_factory):
    directory = tmp_path_factory.mktemp("inputs")
    write_parquet(table, directory, [150, 0, 250], 90)
    return directory


@pytest.fixture(scope="module", name="linear")
def _linear(tmp_path_factory):
    return save_linear(tmp_path_factory.mktemp("linear") / "m", 1)


@pytest.fixture(scope="module", name="scalars")
def _scalars(tmp_path_factory):
    return save_scalars(tmp_path_factory.mktemp("scalars") / "m", 1, ["a", "b"])


@pytest.fixture(scope="module", name="ratio")
def _ratio(tmp_path_factory):
    return save_scalars(tmp_path_factory.mktemp("ratio") / "m", 3, ["ratio"])


def _base(path):
    return Path(path).parent


def _by_id(table, array):
    return np.asarray(array)[np.argsort(table["id"].to_numpy())]


def _numbers(table, names):
    return np.stack([table[name].to_numpy() for name in names], axis=1)


def _assert_scores(output, table, expected):
    assert output["id"].to_pylist() == sorted(table["id"].to_pylist())
    np.testing.assert_allclose(
        values(output["score"]), _by_id(table, expected), rtol=1e-5, atol=1e-6
    )


class TestInputMap:
    def test_columns_stacked_to_a_matrix(self, table, inputs, linear, tmp_path):
        """`tensor=[c1,c2,...]` stacks scalar columns in the order given."""
        code = main(
            [
                "precompute",
                f"--model_base_path={_base(linear)}",
                f"--input={inputs}/*.parquet",
                "--input_map=features=[d,b,c,a]",
                "--key=id",
                f"--output={tmp_path}/out",
            ]
        )
        assert code == 0
        expected = call_model(linear, features=_numbers(table, "dbca"))["score"][:, 0]
        _assert_scores(read_output(tmp_path / "out"), table, expected)

    def test_tensor_from_another_column(self, table, inputs, scalars, tmp_path):
        """`tensor=column` binds one input; inputs that are not named bind by their names."""
        run_job(_base(scalars), inputs, tmp_path / "out", key="id", input_map=("a=c",))
        expected = call_model(scalars, a=table["c"].to_numpy(), b=table["b"].to_numpy())["score"]
        _assert_scores(read_output(tmp_path / "out"), table, expected)

    def test_one_column_feeds_two_inputs(self, table, inputs, scalars, tmp_path):
        """A column may feed several inputs, and is read and copied once."""
        run_job(
            _base(scalars),
            inputs,
            tmp_path / "out",
            key="id",
            input_map=("a=c", "b=c"),
            passthrough=("c",),
        )
        column = table["c"].to_numpy()
        output = read_output(tmp_path / "out")
        _assert_scores(output, table, call_model(scalars, a=column, b=column)["score"])
        assert values(output["c"]).tolist() == _by_id(table, column).tolist()


class TestCopiedColumns:
    def test_passthrough(self, table, inputs, scalars, tmp_path):
        """Pass-through columns are copied beside the key, of any type and with their nulls."""
        run_job(
            _base(scalars),
            inputs,
            tmp_path / "out",
            key="id",
            passthrough=("country", "label", "a"),
            max_batch_size=64,
        )
        part = next((tmp_path / "out").glob("model_name=m/model_version=1/*.parquet"))
        assert pq.read_schema(part).names == ["id", "country", "label", "a", "score"]
        output = read_output(tmp_path / "out")
        copied = output.select(["id", "country", "label", "a"])
        assert copied.equals(table.sort_by("id").select(copied.column_names))

    def test_without_key_rows_are_named_by_file_and_row(self, table, inputs, scalars, tmp_path):
        """`source_file` and `source_row` lead back to the row, whatever the units and batches."""
        run_job(_base(scalars), inputs, tmp_path / "out", unit_rows=100, max_batch_size=33)
        output = read_output(tmp_path / "out", ["source_file", "source_row"])
        files = [str(inputs / f"part-{index:02d}.parquet") for index in (0, 2)]
        expected = [(files[0], row) for row in range(150)] + [(files[1], row) for row in range(250)]
        found = zip(
            output["source_file"].to_pylist(), output["source_row"].to_pylist(), strict=True
        )
        assert list(found) == expected
        score = call_model(scalars, a=table["a"].to_numpy(), b=table["b"].to_numpy())["score"]
        np.testing.assert_allclose(values(output["score"]), score, rtol=1e-5, atol=1e-6)


class TestUserFunctions:
    def test_preprocess_makes_the_columns_that_the_model_takes(
        self, table, inputs, ratio, tmp_path
    ):
        """A column that only `--preprocess` makes feeds the model, and can be passed through."""
        run_job(
            _base(ratio),
            inputs,
            tmp_path / "out",
            key="id",
            preprocess=f"{FUNCTIONS}:add_ratio",
            passthrough=("ratio", "country"),
            max_batch_size=64,
        )
        quotient = table["a"].to_numpy() / table["b"].to_numpy()
        output = read_output(tmp_path / "out")
        _assert_scores(output, table, call_model(ratio, ratio=quotient)["score"])
        np.testing.assert_allclose(values(output["ratio"]), _by_id(table, quotient), rtol=1e-6)
        assert output["country"].null_count == NUM_ROWS // 4

    def test_preprocess_keeps_the_source_of_rows(self, table, inputs, ratio, tmp_path):
        """A function that returns new columns only does not lose which row is which."""
        run_job(
            _base(ratio),
            inputs,
            tmp_path / "out",
            preprocess=f"{FUNCTIONS}:only_ratio",
            max_batch_size=64,
        )
        output = read_output(tmp_path / "out", ["source_file", "source_row"])
        assert output["source_row"].to_pylist() == [*range(150), *range(250)]
        quotient = table["a"].to_numpy() / table["b"].to_numpy()
        expected = call_model(ratio, ratio=quotient)["score"]
        np.testing.assert_allclose(values(output["score"]), expected, rtol=1e-5, atol=1e-6)

    def test_preprocess_of_tfrecord(self, table, ratio, tmp_path):
        """Parsed features go through `--preprocess` as Parquet columns do."""
        columns = {name: table[name].to_numpy() for name in "ab"}
        columns["id"] = np.arange(NUM_ROWS)
        write_tfrecord(columns, tmp_path / "in/a.tfrecord")
        run_job(
            _base(ratio),
            tmp_path / "in",
            tmp_path / "out",
            key="id",
            preprocess=f"{FUNCTIONS}:add_ratio",
        )
        expected = call_model(ratio, ratio=columns["a"] / columns["b"])["score"]
        output = read_output(tmp_path / "out")
        np.testing.assert_allclose(values(output["score"]), expected, rtol=1e-5, atol=1e-6)

    def test_postprocess_sees_the_output_rows(self, table, inputs, scalars, tmp_path):
        """`--postprocess` turns scores into what is written."""
        run_job(
            _base(scalars),
            inputs,
            tmp_path / "out",
            key="id",
            postprocess=f"{FUNCTIONS}:add_decision",
            max_batch_size=64,
        )
        output = read_output(tmp_path / "out")
        score = call_model(scalars, a=table["a"].to_numpy(), b=table["b"].to_numpy())["score"]
        _assert_scores(output, table, score)
        assert output.schema.field("is_high").type == pa.bool_()
        found = values(output["is_high"])
        assert set(found) == {True, False}
        assert found.tolist() == (values(output["score"]) > 4.5).tolist()

    @pytest.mark.parametrize("flag", ["preprocess", "postprocess"])
    def test_a_function_that_loses_rows_fails_the_job(self, flag, inputs, scalars, tmp_path):
        """Losing a row is an error that names the flag, not fewer rows in the output."""
        with pytest.raises(
            ServableCoreError, match=rf"--{flag}=\S+drop_first_row returned"
        ) as info:
            run_job(
                _base(scalars),
                inputs,
                tmp_path / "out",
                key="id",
                **{flag: f"{FUNCTIONS}:drop_first_row"},
            )
        assert isinstance(info.value, JobFailedError) == (flag == "postprocess")
        assert not list((tmp_path / "out").glob("model_name=*/**/*.parquet"))
        assert not (tmp_path / "out/_SUCCESS").exists()


class TestLimit:
    @pytest.mark.parametrize("limit", [1, 90, 149, 151, 399, 1000])
    def test_first_rows_in_reading_order(self, limit, table, inputs, scalars, tmp_path):
        """`--limit` takes the first rows across files and row groups, and no others."""
        report = run_job(
            _base(scalars),
            inputs,
            tmp_path / "out",
            key="id",
            limit=limit,
            unit_rows=100,
            max_batch_size=32,
        )
        output = read_output(tmp_path / "out")
        assert output["id"].to_pylist() == sorted(table["id"].to_pylist()[:limit])
        assert report.rows == report.plan.num_rows == min(limit, NUM_ROWS)


SELECTED = {None: [10], "latest:2": [2, 10], "all": [1, 2, 10], "1,10": [1, 10], "2": [2]}


class TestVersions:
    @pytest.fixture(scope="class", name="base")
    def _base_path(self, tmp_path_factory):
        """Versions that take different inputs."""
        base = tmp_path_factory.mktemp("versions") / "ranker"
        save_scalars(base, 1, ["a"])
        save_scalars(base, 2, ["a", "b"])
        save_scalars(base, 10, ["c", "d"])
        return base

    @pytest.mark.parametrize("asked", SELECTED)
    def test_versions_asked_for_are_written(self, asked, table, inputs, base, tmp_path):
        """Each version that is asked for has every row, predicted from its own inputs."""
        expected = SELECTED[asked]
        report = run_job(
            base,
            inputs,
            tmp_path / "out",
            key="id",
            model_version=asked,
            unit_rows=120,
            max_batch_size=50,
        )
        output = read_output(tmp_path / "out", ["model_version", "id"])
        assert sorted(set(output["model_version"].to_pylist())) == expected
        takes = {1: "a", 2: "ab", 10: "cd"}
        for version in expected:
            rows = output.filter(pc.equal(output["model_version"], version))
            inputs_of_version = {name: table[name].to_numpy() for name in takes[version]}
            score = call_model(str(base / str(version)), **inputs_of_version)["score"]
            _assert_scores(rows, table, score)
        assert [each["version"] for each in report.manifest["models"]] == expected
        assert {each["rows"] for each in report.manifest["models"]} == {NUM_ROWS}

    def test_versions_of_records_and_of_features(self, table, tmp_path):
        """One version is fed serialized Examples, another the features parsed from them."""
        columns = {name: table[name].to_numpy() for name in "ab"} | {"id": np.arange(NUM_ROWS)}
        write_tfrecord(columns, tmp_path / "in/a.tfrecord.gz", compression="GZIP")
        save_examples(tmp_path / "m", 1, ["a", "b"])
        features = save_scalars(tmp_path / "m", 2, ["a", "b"])
        run_job(
            tmp_path / "m",
            tmp_path / "in",
            tmp_path / "out",
            key="id",
            model_version="all",
            max_batch_size=64,
        )
        output = read_output(tmp_path / "out", ["model_version", "id"])
        assert output["id"].to_pylist() == [*range(NUM_ROWS), *range(NUM_ROWS)]
        first = columns["a"] + columns["b"]
        second = call_model(features, a=columns["a"], b=columns["b"])["score"]
        np.testing.assert_allclose(
            values(output["score"]), np.concatenate([first, second]), rtol=1e-5, atol=1e-6
        )

    def test_map_of_an_input_that_one_version_has(self, table, tmp_path):
        """`--input_map` may name an input that only one of the versions takes."""
        write_parquet(table, tmp_path / "in", [NUM_ROWS], NUM_ROWS)
        save_scalars(tmp_path / "m", 1, ["a"])
        renamed = save_scalars(tmp_path / "m", 2, ["a", "other"])
        run_job(
            tmp_path / "m",
            tmp_path / "in",
            tmp_path / "out",
            key="id",
            model_version="all",
            input_map=("other=b",),
        )
        output = read_output(tmp_path / "out", ["model_version", "id"])
        second = output.filter(output["model_version"].to_numpy() == 2)
        expected = call_model(renamed, a=table["a"].to_numpy(), other=table["b"].to_numpy())
        _assert_scores(second, table, expected["score"])

    def test_model_name_is_written(self, inputs, base, tmp_path):
        """`--model_name` names the model in the output."""
        run_job(base, inputs, tmp_path / "out", key="id", model_name="other")
        assert set(read_output(tmp_path / "out")["model_name"].to_pylist()) == {"other"}

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest

from pipelines.predict import predict
from servable_core.errors import InvalidArgumentError, NotFoundError
from tests.datasets import write_parquet
from tests.jobs import read_output, run_job, values
from tests.models import (
    call_model,
    save_batch_facts,
    save_identity,
    save_linear,
    save_ranks,
    save_scalars,
    save_text,
)
from tests.pipelines.batch_functions import add_ratio, drop_first_row

NUM_ROWS = 500


@pytest.fixture(scope="module", name="table")
def _table():
    random = np.random.default_rng(0)
    matrix = random.normal(size=(NUM_ROWS, 4)).astype(np.float32)
    columns = {"id": random.permutation(NUM_ROWS)}
    columns |= {name: random.uniform(1, 2, NUM_ROWS).astype(np.float32) for name in "ab"}
    columns["features"] = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), 4)
    return pa.table(columns)


@pytest.fixture(scope="module", name="root")
def _root(tmp_path_factory):
    """Base paths of the models by name."""
    root = tmp_path_factory.mktemp("models")
    for version in (1, 2, 10):
        save_linear(root / "linear", version)
    save_scalars(root / "scalars", 1, ["a", "b"])
    save_scalars(root / "ratio", 1, ["ratio"])
    save_ranks(root / "ranks", 1)
    save_text(root / "text", 1)
    save_batch_facts(root / "facts", 1)
    save_identity(root / "identity", 1, ["int64", "float64", "bool"])
    return root


def _expected(root, table, version=10):
    matrix = values(table["features"])
    return call_model(str(root / f"linear/{version}"), features=matrix)["score"][:, 0]


class TestPredict:
    def test_equals_the_job(self, table, root, tmp_path):
        """The same rows through `predict` and through a job: the same columns and values."""
        write_parquet(table, tmp_path / "in", [300, 200], 100)
        run_job(root / "linear", tmp_path / "in", tmp_path / "out", key="id")
        job = read_output(tmp_path / "out").select(["id", "score"])
        found = predict(table, str(root / "linear"), passthrough=["id"])
        assert found.column_names == ["id", "score"]
        assert found["id"].equals(table["id"])
        found = found.sort_by("id")
        assert found.schema.types == job.schema.types
        assert found["id"].equals(job["id"])
        np.testing.assert_allclose(
            values(found["score"]), values(job["score"]), rtol=1e-5, atol=1e-6
        )

    @pytest.mark.parametrize("batch_size", [1, 7, 100, 499, 500, 501, None])
    def test_rows_keep_their_order_in_batches_of_any_size(self, batch_size, table, root):
        """Batches that do and do not divide the table give each row its own value."""
        found = predict(table, str(root / "linear"), max_batch_size=batch_size)
        assert found.num_rows == NUM_ROWS
        np.testing.assert_allclose(
            values(found["score"]), _expected(root, table), rtol=1e-5, atol=1e-6
        )

    def test_batches_are_bounded(self, table, root):
        """No model call has more rows than `max_batch_size`."""
        found = predict(
            table, str(root / "facts"), max_batch_size=64, output_tensors=["batch_rows"]
        )
        assert found.column_names == ["batch_rows"]
        assert 1 <= values(found["batch_rows"]).max() <= 64

    def test_chunked_and_sliced_tables(self, table, root):
        """How Arrow holds the rows makes no difference."""
        pieces = [table.slice(start, 33) for start in range(0, NUM_ROWS, 33)]
        chunked = pa.concat_tables([*pieces, table.slice(0, 0)]).slice(5)
        assert chunked["a"].num_chunks > 1
        found = predict(chunked, str(root / "linear"), max_batch_size=50)
        np.testing.assert_allclose(
            values(found["score"]), _expected(root, table)[5:], rtol=1e-5, atol=1e-6
        )

    @pytest.mark.parametrize("version", [1, "2", 10, "latest"])
    def test_version(self, version, table, root):
        """A version by number, by text, or the latest by number and not by spelling."""
        found = predict(table, str(root / "linear"), model_version=version)
        number = 10 if version == "latest" else int(version)
        np.testing.assert_allclose(
            values(found["score"]), _expected(root, table, number), rtol=1e-5, atol=1e-6
        )

    def test_options_of_a_job(self, table, root):
        """Signature, input map, kept outputs and pass-through mean what they mean in a job."""
        found = predict(
            table,
            str(root / "ranks"),
            signature_name="doubled",
            input_map=["x=a"],
            output_tensors=["twice=double_a"],
            passthrough=["b"],
        )
        assert found.column_names == ["b", "double_a"]
        np.testing.assert_array_equal(values(found["double_a"]), 2 * table["a"].to_numpy())
        stacked = predict(table, str(root / "linear"), input_map=["features=[a,b,a,b]"])
        a, b = table["a"].to_numpy(), table["b"].to_numpy()
        expected = call_model(str(root / "linear/10"), features=np.stack([a, b, a, b], axis=1))
        np.testing.assert_allclose(
            values(stacked["score"]), expected["score"][:, 0], rtol=1e-5, atol=1e-6
        )

    def test_preprocess(self, table, root):
        """A function is applied to each batch; what it makes can be fed and passed through."""
        found = predict(
            table,
            str(root / "ratio"),
            preprocess=add_ratio,
            passthrough=["ratio"],
            max_batch_size=64,
        )
        ratio = table["a"].to_numpy() / table["b"].to_numpy()
        np.testing.assert_allclose(values(found["ratio"]), ratio, rtol=1e-6)
        np.testing.assert_allclose(values(found["score"]), ratio, rtol=1e-5)

    def test_preprocess_that_loses_rows_is_refused(self, table, root):
        """Rows must not vanish silently."""
        with pytest.raises(InvalidArgumentError, match="must keep the rows"):
            predict(
                table,
                str(root / "scalars"),
                preprocess=drop_first_row,
                max_batch_size=64,
            )


class TestEmptyTable:
    def test_has_the_columns_of_a_full_one(self, table, root):
        """No rows in, no rows out, with the same columns and types."""
        full = predict(table, str(root / "linear"), passthrough=["id"])
        empty = predict(table.slice(0, 0), str(root / "linear"), passthrough=["id"])
        assert empty.num_rows == 0
        assert empty.schema.equals(full.schema)

    @pytest.mark.parametrize("model", ["ranks", "text", "identity", "scalars"])
    def test_inputs_of_every_type(self, model, root):
        """Strings, integers, booleans, and outputs of several ranks keep their types, too."""
        columns = {
            "text": pa.array(["a", "bc"]),
            "x": pa.array([1, 2], pa.float32()),
            "a": pa.array([1, 2], pa.float32()),
            "b": pa.array([1, 2], pa.float32()),
            "int64": pa.array([1, 2]),
            "float64": pa.array([1.0, 2.0]),
            "bool": pa.array([True, False]),
        }
        table = pa.table(columns)
        full = predict(table, str(root / model))
        empty = predict(table.slice(0, 0), str(root / model))
        assert (full.num_rows, empty.num_rows) == (2, 0)
        assert empty.schema.equals(full.schema)

    def test_of_no_batches_at_all(self, root):
        """A table made from a schema alone."""
        schema = pa.schema({"a": pa.float32(), "b": pa.float32()})
        assert predict(schema.empty_table(), str(root / "scalars")).num_rows == 0


class TestMistakes:
    def test_missing_column_names_the_close_one(self, table, root):
        """A column of nearly the right name is pointed out."""
        renamed = table.rename_columns(["id", "a", "bb", "features"])
        with pytest.raises(InvalidArgumentError, match=r"input b: float32 \[None\] has no column"):
            predict(renamed, str(root / "scalars"))
        with pytest.raises(InvalidArgumentError, match=r"--input_map=features=feature"):
            predict(
                table.rename_columns(["id", "a", "b", "feature"]),
                str(root / "linear"),
            )

    def test_wrong_type(self, table, root):
        """Text cannot feed a number."""
        wrong = table.set_column(1, "a", pa.array(["x"] * NUM_ROWS))
        with pytest.raises(InvalidArgumentError, match=r"input a: float32 \[None\] cannot take a"):
            predict(wrong, str(root / "scalars"))

    def test_null(self, table, root):
        """A null in a late batch is an error that names the column."""
        column = pa.array([*table["a"].to_pylist()[:-1], None], pa.float32())
        with pytest.raises(InvalidArgumentError, match="column 'a' has 1 nulls"):
            predict(table.set_column(1, "a", column), str(root / "scalars"), max_batch_size=64)

    def test_unknown_passthrough(self, table, root):
        """The message names the column that was meant."""
        with pytest.raises(InvalidArgumentError, match=r"'idd'.*did you mean 'id'"):
            predict(table, str(root / "scalars"), passthrough=["idd"])

    def test_several_versions(self, table, root):
        """`predict` takes one version."""
        with pytest.raises(InvalidArgumentError, match="selects 3 versions"):
            predict(table, str(root / "linear"), model_version="all")

    def test_no_such_version(self, table, root):
        """The versions that are there are listed."""
        with pytest.raises(NotFoundError, match=r"3.*1, 2, 10"):
            predict(table, str(root / "linear"), model_version=3)

    def test_a_mistake_does_not_spoil_the_next_call(self, table, root):
        """After an error the engine goes on working."""
        with pytest.raises(InvalidArgumentError):
            predict(table, str(root / "linear"), passthrough=["nothing"])
        found = predict(table, str(root / "linear"))
        np.testing.assert_allclose(
            values(found["score"]), _expected(root, table), rtol=1e-5, atol=1e-6
        )


def test_several_threads_at_once(table, root):
    """Calls on many threads, of two models, each get their own rows back."""
    starts = list(range(0, 400, 20))

    def call(start):
        part = table.slice(start, 100)
        name = "linear" if start % 40 else "scalars"
        found = predict(part, str(root / name), passthrough=["id"], max_batch_size=32)
        assert found["id"].equals(part["id"])
        return values(found["score"])

    with ThreadPoolExecutor(8) as executor:
        results = list(executor.map(call, starts))
    linear = _expected(root, table)
    scalars = call_model(str(root / "scalars/1"), a=table["a"].to_numpy(), b=table["b"].to_numpy())[
        "score"
    ]
    for start, found in zip(starts, results, strict=True):
        expected = linear if start % 40 else scalars
        np.testing.assert_allclose(found, expected[start : start + 100], rtol=1e-5, atol=1e-6)


def test_does_not_import_beam(root):
    """`predict` works where Beam takes no part, up to the end of the process."""
    code = f"""
import sys
import pyarrow as pa
from pipelines.predict import predict
table = pa.table({{"a": pa.array([1.0]), "b": pa.array([2.0])}})
assert predict(table, {str(root / "scalars")!r})["score"].to_pylist() == [5.0]
assert not [name for name in sys.modules if name.startswith("apache_beam")]
print("done")
"""
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip(), done.stderr.strip()) == (0, "done", "")

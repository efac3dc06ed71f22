"""Jobs over lists of varying length: padded for the model, cut again in the output."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.cli import main
from pipelines.job_run import JobFailedError
from pipelines.predict import predict
from tests.datasets import write_parquet
from tests.jobs import read_output, run_job
from tests.models import call_model, save_ragged
from tests.robustness.driver import KILL_AT_RECEIPT, KILL_WHEN
from tests.robustness.jobs import run_process

NUM_ROWS = 300
INPUT_MAP = ("mask=mask(ids)", "length=len(ids)")


@pytest.fixture(scope="module", name="paths")
def _paths(tmp_path_factory):
    """The directories of versions 1 and 2."""
    base = tmp_path_factory.mktemp("models") / "ragged"
    return {version: save_ragged(base, version) for version in (1, 2)}


@pytest.fixture(scope="module", name="base")
def _base(paths):
    return paths[1].removesuffix("/1")


def _ragged_rows():
    """Rows of 0 to 70 ids; many are short, as in real data."""
    random = np.random.default_rng(0)
    lengths = np.minimum(random.geometric(0.07, NUM_ROWS) - 1, 70)
    assert lengths.min() == 0
    assert lengths.max() > 40
    return [random.integers(-100, 100, length).tolist() for length in lengths]


ROWS = _ragged_rows()


def _table(list_type=None):
    ids = pa.array(ROWS, list_type or pa.list_(pa.int32()))
    return pa.table({"id": range(NUM_ROWS), "ids": ids})


@pytest.fixture(scope="module", name="inputs")
def _inputs(tmp_path_factory):
    directory = tmp_path_factory.mktemp("inputs")
    write_parquet(_table(), directory, [110, 0, 190], 50)
    return directory


def _direct(path, row):
    """Returns what the model says of one row by itself, unpadded."""
    ids = np.asarray([row], np.int32)
    mask, length = np.ones(ids.shape, np.float32), np.asarray([len(row)], np.int64)
    outputs = call_model(path, ids=ids, mask=mask, length=length)
    return float(outputs["score"][0]), outputs["tokens"][0].tolist()


def _assert_rows(table, path, rows=ROWS, list_type=None):
    """Checks rows sorted by id, one by one, against the model without batching."""
    assert table["tokens"].type == (list_type or pa.list_(pa.int32()))
    assert len(table) == len(rows)
    for row, score, tokens in zip(
        rows, table["score"].to_pylist(), table["tokens"].to_pylist(), strict=True
    ):
        expected_score, expected_tokens = _direct(path, row)
        assert tokens == expected_tokens
        assert score == pytest.approx(expected_score, rel=1e-5, abs=1e-5)


class TestRows:
    @pytest.mark.parametrize(
        "list_type",
        [pa.list_(pa.int32()), pa.large_list(pa.int64()), pa.list_(pa.int8())],
        ids=str,
    )
    def test_equal_to_direct_calls_row_by_row(self, base, paths, tmp_path, list_type):
        """Every kind of list, rows of no values included, gives what single calls give."""
        write_parquet(_table(list_type), tmp_path / "in", [110, 0, 190], 50)
        run_job(
            base,
            tmp_path / "in",
            tmp_path / "out",
            key="id",
            model_version="1",
            input_map=INPUT_MAP,
            unit_rows=120,
        )
        _assert_rows(read_output(tmp_path / "out"), paths[1])

    @pytest.mark.parametrize(
        "execution",
        [{"max_batch_size": 7}, {"max_batch_size": 1}, {"num_batch_threads": 3}],
        ids=str,
    )
    def test_any_batch_size(self, base, paths, inputs, tmp_path, execution):
        """How rows are batched does not show in the output."""
        run_job(
            base,
            inputs,
            tmp_path / "out",
            key="id",
            model_version="1",
            input_map=INPUT_MAP,
            **execution,
        )
        _assert_rows(read_output(tmp_path / "out"), paths[1])

    def test_several_versions_in_one_pass(self, base, paths, inputs, tmp_path):
        """Each version pads for itself, and answers all rows."""
        run_job(
            base,
            inputs,
            tmp_path / "out",
            key="id",
            model_version="all",
            input_map=INPUT_MAP,
            length_ladder=(8, 32),
        )
        table = read_output(tmp_path / "out")
        for version, path in paths.items():
            mask = np.asarray(table["model_version"]) == version
            _assert_rows(table.filter(pa.array(mask)), path)

    def test_strings(self, base, paths, tmp_path):
        """Lists of strings are padded with empty ones, and come back as lists of bytes."""
        rows = [["a", "bb"], [], ["ccc"], ["d"] * 40, ["é", ""]] * 20
        table = pa.table({"id": range(100), "words": pa.array(rows, pa.list_(pa.string()))})
        write_parquet(table, tmp_path / "in", [100], 30)
        run_job(
            base,
            tmp_path / "in",
            tmp_path / "out",
            key="id",
            model_version="1",
            signature_name="text",
            input_map=("mask=mask(words)",),
        )
        found = read_output(tmp_path / "out")
        assert found["upper"].type == pa.list_(pa.binary())
        for row, joined, upper in zip(
            rows, found["joined"].to_pylist(), found["upper"].to_pylist(), strict=True
        ):
            words = [each.encode() for each in row]
            assert joined == b"".join(each + b" " for each in words)
            assert upper == [each.upper() for each in words]

    @pytest.mark.parametrize(
        "list_type",
        [
            pa.list_(pa.list_(pa.float32(), 2)),
            pa.list_(pa.list_(pa.float32())),
            pa.list_(pa.float32()),
        ],
        ids=["list of fixed-size lists", "list of lists", "list of values"],
    )
    def test_inner_size(self, base, tmp_path, list_type):
        """Boxes of two values a piece, however nested, keep together."""
        random = np.random.default_rng(1)
        rows = [random.normal(size=(length, 2)).astype(np.float32) for length in range(40)]
        is_flat = list_type == pa.list_(pa.float32())
        listed = [(each.ravel() if is_flat else each).tolist() for each in rows]
        table = pa.table({"id": range(40), "boxes": pa.array(listed, list_type)})
        write_parquet(table, tmp_path / "in", [40], 7)
        run_job(
            base,
            tmp_path / "in",
            tmp_path / "out",
            key="id",
            model_version="1",
            signature_name="boxes",
            input_map=("length=len(boxes)",),
        )
        found = read_output(tmp_path / "out")
        assert found["moved"].type == pa.list_(pa.list_(pa.float32(), 2))
        for row, area, moved in zip(
            rows, found["area"].to_pylist(), found["moved"].to_pylist(), strict=True
        ):
            np.testing.assert_allclose(np.asarray(moved).reshape(-1, 2), row + 1, rtol=1e-6)
            assert area == pytest.approx(1 + (row[:, 0] * row[:, 1]).sum(), rel=1e-4, abs=1e-4)

    @pytest.mark.parametrize("size", [-1, 3])
    def test_lists_of_one_length(self, base, paths, tmp_path, size):
        """Rows that all have the same length, by type or by chance, get their masks no less."""
        ids = pa.array([[1, 2, 3]] * 9, pa.list_(pa.int32(), size))
        table = pa.table({"id": range(9), "ids": ids})
        write_parquet(table, tmp_path / "in", [9], 9)
        run_job(
            base,
            tmp_path / "in",
            tmp_path / "out",
            key="id",
            model_version="1",
            input_map=INPUT_MAP,
        )
        found = read_output(tmp_path / "out")
        _assert_rows(found, paths[1], [[1, 2, 3]] * 9, pa.list_(pa.int32(), size))


class TestWithoutMask:
    def test_different_lengths_are_an_error(self, base, inputs, tmp_path):
        """What is not asked for is not padded: the message names the ways to ask."""
        with pytest.raises(JobFailedError, match=r"mask\(ids\).*--pad_variable_length_inputs"):
            run_job(base, inputs, tmp_path / "out", key="id", signature_name="largest")

    def test_padding_with_a_value(self, base, tmp_path):
        """The flag pads with the value given, which the model sees."""
        rows = [[-3, -9], [-7], [-8] * 30, [2]]
        table = pa.table({"id": range(4), "ids": pa.array(rows, pa.list_(pa.int32()))})
        write_parquet(table, tmp_path / "in", [4], 4)
        run_job(
            base,
            tmp_path / "in",
            tmp_path / "out",
            key="id",
            model_version="1",
            signature_name="largest",
            pad_variable_length_inputs=True,
            pad_values=("ids=-5",),
        )
        assert read_output(tmp_path / "out")["most"].to_pylist() == [-2, -4, -4, 3]

    @pytest.mark.parametrize("lengths", [(3, 5), (30, 5)])
    def test_output_of_its_own_width(self, base, tmp_path, lengths):
        """An output that happens to be as wide as the padded rows is not cut to their lengths."""
        rows = [[4] * length for length in lengths]
        table = pa.table({"id": range(2), "ids": pa.array(rows, pa.list_(pa.int32()))})
        write_parquet(table, tmp_path / "in", [2], 2)
        run_job(
            base,
            tmp_path / "in",
            tmp_path / "out",
            key="id",
            model_version="1",
            signature_name="largest",
            pad_variable_length_inputs=True,
        )
        digits = [1, 0, 1] + [0] * 13
        assert read_output(tmp_path / "out")["digits"].to_pylist() == [digits, digits]
        found = predict(
            table,
            base,
            model_version=1,
            signature_name="largest",
            pad_variable_length_inputs=True,
        )
        assert found["digits"].to_pylist() == [digits, digits]


class TestDeterministic:
    def _args(self, base, inputs, output, *flags):
        return [
            "precompute",
            f"--model_base_path={base}",
            f"--input={inputs}",
            f"--output={output}",
            "--key=id",
            "--deterministic",
            "--unit_rows=60",
            "--max_batch_cells=700",
            "--max_batch_size=33",
            *(f"--input_map={each}" for each in INPUT_MAP),
            *flags,
        ]

    def _bytes(self, output):
        parts = output.glob("model_name=*/*/*.parquet")
        return {str(each.relative_to(output)): each.read_bytes() for each in parts}

    def test_same_bytes_twice_and_after_kill_and_resume(self, base, paths, inputs, tmp_path):
        """Lengths decide what is batched, nothing else: also when resumed without the flags."""
        first, killed = tmp_path / "first", tmp_path / "killed"
        assert run_process(self._args(base, inputs, first)).code == 0
        environment = {KILL_AT_RECEIPT: 2, KILL_WHEN: "after"}
        args = self._args(base, inputs, killed, "--num_batch_threads=1")
        assert run_process(args, environment, module="tests.robustness.driver").code < 0
        resumed = run_process(["precompute", f"--output={killed}", "--if_exists=resume"])
        assert resumed.code == 0, resumed.err
        assert self._bytes(killed) == self._bytes(first)
        assert len(self._bytes(first)) > 3
        _assert_rows(read_output(first), paths[2])


class TestSurroundings:
    def test_resume(self, base, paths, inputs, tmp_path):
        """A job with a unit missing goes on by its plan, padding included."""
        options = {
            "key": "id",
            "model_version": "1",
            "input_map": INPUT_MAP,
            "unit_rows": 100,
            "length_ladder": (5, 50),
        }
        report = run_job(base, inputs, tmp_path / "out", **options)
        units = len(report.plan.units)
        assert units > 2
        for path in ("_SUCCESS", "_manifest.json", "_units/unit-00001.json"):
            (tmp_path / "out" / path).unlink()
        assert main(["precompute", f"--output={tmp_path}/out", "--if_exists=resume"]) == 0
        _assert_rows(read_output(tmp_path / "out"), paths[1])

    def test_predict(self, base, paths):
        """`predict` pads and cuts as a job does."""
        table = predict(
            _table(), base, model_version=1, input_map=INPUT_MAP, passthrough=["id"]
        ).combine_chunks()
        assert table["id"].to_pylist() == list(range(NUM_ROWS))
        _assert_rows(table, paths[1])

    def test_predict_of_no_rows(self, base):
        """An empty table gives an empty one with the same columns."""
        table = predict(_table().slice(0, 0), base, model_version=1, input_map=INPUT_MAP)
        assert table.num_rows == 0
        assert table.schema.names == ["score", "tokens"]

    def test_inspect_and_dry_run_show_the_padding(self, base, inputs, tmp_path, capsys):
        """Both say which inputs are padded, and what is made of the padding."""
        flags = [f"--model_base_path={base}", f"--input={inputs}", "--model_version=1"]
        flags += [f"--input_map={each}" for each in INPUT_MAP]
        assert main(["inspect", *flags, "--signature_name=serving_default"]) == 0
        shown = capsys.readouterr().out
        assert main(["precompute", *flags, "--dry_run", f"--output={tmp_path}/out"]) == 0
        planned = capsys.readouterr().out
        for text in (shown, planned):
            lines = [each.removeprefix("    input ").strip() for each in text.splitlines()]
            assert "ids: int32 [None, None] <- ids (padded)" in lines
            assert "mask: float32 [None, None] <- mask(ids)" in lines
            assert "length: int64 [None] <- len(ids)" in lines
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("bad_row", [0, 7, 29])
    def test_row_that_the_model_refuses(self, base, tmp_path, bad_row):
        """A row that fails is found among others of its length and of other lengths."""
        rows = [[1] * (row % 40) for row in range(30)]
        rows[bad_row] = [5] * 20 + [1000]
        table = pa.table({"id": range(30), "ids": pa.array(rows, pa.list_(pa.int32()))})
        pq.write_table(table, tmp_path / "rows.parquet")
        expected = rf"row {bad_row} of {tmp_path}/rows\.parquet: .*ids are below 1000"
        with pytest.raises(JobFailedError, match=expected):
            run_job(
                base,
                tmp_path / "rows.parquet",
                tmp_path / "out",
                key="id",
                input_map=INPUT_MAP,
            )

    def test_error_names_the_row(self, base, tmp_path):
        """A null in a list is found in the row that has it, whatever the lengths before it."""
        rows = [[1] * 50, [2], [3, None], [4]]
        table = pa.table({"id": range(4), "ids": pa.array(rows, pa.list_(pa.int32()))})
        pq.write_table(table, tmp_path / "rows.parquet")
        with pytest.raises(JobFailedError, match=r"column 'ids' .* row 2 of .*rows\.parquet"):
            run_job(
                base,
                tmp_path / "rows.parquet",
                tmp_path / "out",
                key="id",
                input_map=INPUT_MAP,
            )

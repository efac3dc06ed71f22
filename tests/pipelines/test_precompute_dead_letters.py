"""`--on_error=dead_letter`: exactly the bad records are put aside, and every other row is written."""

import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.job_run import JobFailedError
from pipelines.options import PrecomputeOptions
from pipelines.precompute import run, summary
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from tests.datasets import to_examples, write_parquet
from tests.jobs import read_output, run_job
from tests.models import save_signatures
from transforms import read_unit
from transforms.execution import ExecutionOptions

NUM_ROWS = 1000
_LIMITS = {1: 600.0, 2: 900.0}


def _save_limited(base_path, version):
    """Saves a model that refuses values of its limit and more."""
    tf, limit = import_tensorflow(), _LIMITS[version]

    def call(x):
        fits = tf.debugging.assert_less(x, tf.constant(limit), message="too large")
        with tf.control_dependencies([fits]):
            return {"y": 2.0 * x}

    signature = {"x": tf.TensorSpec([None], tf.float32, name="x")}
    return save_signatures(base_path, version, {"serving_default": (call, signature)})


@pytest.fixture(scope="module", name="base")
def _base(tmp_path_factory):
    base = tmp_path_factory.mktemp("models") / "limited"
    for version in _LIMITS:
        _save_limited(base, version)
    return base


def _values(bad):
    """Values below 100, but for the rows in `bad`."""
    values = np.arange(NUM_ROWS, dtype=np.float32) % 100
    for row, value in bad.items():
        values[row] = value
    return values


@pytest.fixture(name="inputs")
def _inputs(tmp_path):
    """Rows that version 1 refuses at 7, 500 and 999, and version 2 at 500 only; a null at 300."""
    values = _values({7: 700, 500: 1000, 999: 800}).tolist()
    values[300] = None
    table = pa.table({"id": range(NUM_ROWS), "x": pa.array(values, pa.float32())})
    directory = tmp_path / "in"
    directory.mkdir()
    write_parquet(table, directory, [250, 750], 100)
    return directory


def inputs_file(report, index):
    """The path of one of the job's input files."""
    return Path(report.plan.inputs[index].path)


def _letters(output):
    table = pq.read_table(Path(output) / "_dead_letters")
    return sorted(
        table.to_pylist(), key=lambda each: (each["source_row"], each["model_version"] or 0)
    )


class TestParquet:
    @pytest.fixture(name="report")
    def _report(self, base, inputs, tmp_path):
        return run_job(
            base,
            inputs,
            tmp_path / "out",
            key="id",
            model_version="all",
            on_error="dead_letter",
            unit_rows=400,
            max_batch_size=64,
        )

    def test_all_other_rows_are_written(self, report):
        """Each version's rows, less those that it cannot take."""
        output = read_output(report.output, ["model_version", "id"])
        for version, missing in ((1, {7, 300, 500, 999}), (2, {300, 500})):
            rows = output.filter(pa.compute.equal(output["model_version"], version))
            assert rows["id"].to_pylist() == [i for i in range(NUM_ROWS) if i not in missing]
            np.testing.assert_array_equal(
                rows["y"].to_numpy(), 2 * _values({7: 700, 999: 800})[rows["id"].to_numpy()]
            )

    def test_letters_tell_where_and_why(self, report):
        """File and row, stage, code, the version, and the row itself."""
        letters = _letters(report.output)
        found = [(each["record"], each["stage"], each["model_version"]) for each in letters]
        assert sorted(found) == sorted(
            [
                (b'{"id": 7, "x": 700.0}', "predict", 1),
                (b'{"id": 500, "x": 1000.0}', "predict", 1),
                (b'{"id": 500, "x": 1000.0}', "predict", 2),
                (b'{"id": 999, "x": 800.0}', "predict", 1),
                (b'{"id": 300, "x": null}', "bind", 1),
                (b'{"id": 300, "x": null}', "bind", 2),
            ]
        )
        by_record = {each["record"]: each for each in letters if each["model_version"] == 1}
        last = by_record[b'{"id": 999, "x": 800.0}']
        assert (Path(last["source_file"]), last["source_row"]) == (inputs_file(report, 1), 749)
        assert last["error_code"] == "INVALID_ARGUMENT"
        assert "too large" in last["error_message"]
        assert last["model_name"] == "limited"
        assert "null" in by_record[b'{"id": 300, "x": null}']["error_message"]

    def test_another_job_in_their_place_leaves_none_of_them(self, report, base, tmp_path):
        """Its letters are its own: none stay of units that it has not."""
        clean = tmp_path / "clean"
        write_parquet(pa.table({"id": [1], "x": pa.array([1.0], pa.float32())}), clean, [1], 1)
        run_job(base, clean, report.output, key="id", if_exists="overwrite")
        assert not (Path(report.output) / "_dead_letters").exists()

    def test_manifest_counts_them(self, report):
        """By stage; and the rows of each version."""
        manifest = json.loads((Path(report.output) / "_manifest.json").read_text())
        assert manifest["dead_letters"] == {"predict": 4, "bind": 2}
        assert [each["rows"] for each in manifest["models"]] == [996, 998]
        assert manifest["rows"] == NUM_ROWS
        assert manifest["failed_units"] == []

    def test_summary_counts_them(self, report):
        """The last lines of the run say how many failed, and in which stage."""
        (line,) = [each for each in summary(report).splitlines() if "dead letters" in each]
        assert line == "  dead letters 6: 4 in predict, 2 in bind"

    def test_a_unit_without_any_good_row(self, base, tmp_path):
        """It has letters and no part, and counts as done when the job is resumed."""
        table = pa.table({"id": range(20), "x": pa.array([5.0] * 10 + [5000.0] * 10, pa.float32())})
        (tmp_path / "in").mkdir()
        write_parquet(table, tmp_path / "in", [10, 10], 10)
        options = {"key": "id", "model_version": "2", "on_error": "dead_letter", "unit_rows": 10}
        report = run_job(base, tmp_path / "in", tmp_path / "out", **options)
        assert report.manifest["dead_letters"] == {"predict": 10}
        assert read_output(report.output).num_rows == 10
        again = run_job(base, tmp_path / "in", tmp_path / "out", if_exists="resume")
        assert again.manifest == report.manifest


class TestFunctions:
    def test_rows_that_the_users_functions_fail_on(self, base, inputs, tmp_path, monkeypatch):
        """Preprocess: for all versions; postprocess: for the version."""
        module = tmp_path / "functions_of_test.py"
        module.write_text(
            "def before(batch):\n"
            "    assert 110 not in batch.column('id').to_pylist(), 'refused'\n"
            "    return batch\n"
            "def after(batch):\n"
            "    assert 20 not in batch.column('id').to_pylist(), 'twenty'\n"
            "    return batch\n"
        )
        monkeypatch.syspath_prepend(str(tmp_path))
        report = run_job(
            base,
            inputs,
            tmp_path / "out",
            key="id",
            model_version="2",
            on_error="dead_letter",
            preprocess="functions_of_test:before",
            postprocess="functions_of_test:after",
        )
        stages = {each["stage"]: each for each in _letters(report.output)}
        assert stages["preprocess"]["model_version"] is None
        assert stages["postprocess"]["model_version"] == 2
        assert json.loads(stages["preprocess"]["record"])["id"] == 110
        assert json.loads(stages["postprocess"]["record"])["id"] == 20
        assert report.manifest["dead_letters"] == {
            "preprocess": 1,
            "postprocess": 1,
            "bind": 1,
            "predict": 1,
        }


class TestTFRecord:
    def test_a_damaged_record_and_one_that_does_not_parse(self, base, tmp_path):
        """The others are read on; the letters have the bytes."""
        records = to_examples({"id": range(50), "x": _values({})[:50]})
        records[20] = b"\xffno example"
        (tmp_path / "in").mkdir()
        path = tmp_path / "in" / "a.tfrecord"
        tf = import_tensorflow()
        with tf.io.TFRecordWriter(str(path)) as writer:
            for record in records:
                writer.write(record)
        content = bytearray(path.read_bytes())
        offset = sum(len(each) + 16 for each in records[:30])
        content[offset + 12] ^= 0xFF
        path.write_bytes(bytes(content))
        report = run_job(
            base,
            tmp_path / "in",
            tmp_path / "out",
            key="id",
            model_version="2",
            on_error="dead_letter",
        )
        assert read_output(report.output)["id"].to_pylist() == [
            i for i in range(50) if i not in {20, 30}
        ]
        letters = {each["stage"]: each for each in _letters(report.output)}
        assert letters["read"]["byte_offset"] == offset
        assert letters["read"]["source_row"] == 30
        assert letters["read"]["error_code"] == "DATA_LOSS"
        assert letters["parse"]["record"] == records[20]
        assert letters["parse"]["source_row"] == 20


class TestBudget:
    @pytest.mark.parametrize(
        ("execution", "words"),
        [
            ({"max_failed_rows": 2}, "records failed, more than --max_failed_rows=2"),
            ({"max_failed_fraction": 0.001}, "more than --max_failed_fraction=0.001"),
        ],
    )
    def test_too_many_stop_the_job(self, base, inputs, tmp_path, execution, words):
        """And the job is not declared done."""
        options = PrecomputeOptions(
            model_base_path=str(base),
            model_version="1",
            input=(str(inputs),),
            output=str(tmp_path / "out"),
            key="id",
            on_error="dead_letter",
            execution=ExecutionOptions(**execution),
        )
        with pytest.raises(JobFailedError, match=words):
            run(options)
        assert not (tmp_path / "out" / "_SUCCESS").exists()

    def test_a_row_counts_once_however_many_versions_refuse_it(self, base, tmp_path):
        """Two versions that refuse more than half of the rows are still within the default bound."""
        table = pa.table({"id": range(40), "x": pa.array([5.0] * 10 + [5000.0] * 30, pa.float32())})
        (tmp_path / "in").mkdir()
        write_parquet(table, tmp_path / "in", [40], 40)
        report = run_job(
            base,
            tmp_path / "in",
            tmp_path / "out",
            key="id",
            model_version="all",
            on_error="dead_letter",
        )
        assert report.manifest["dead_letters"] == {"predict": 60}


class TestDamagedRowGroups:
    """Two files of 60 rows in row groups of 20; a page of the second group of the last is damaged."""

    @pytest.fixture(name="damaged")
    def _damaged(self, tmp_path):
        (tmp_path / "in").mkdir()
        table = pa.table({"id": range(120), "x": pa.array(_values({})[:120], pa.float32())})
        write_parquet(table, tmp_path / "in", [60, 60], 20)
        last = sorted((tmp_path / "in").iterdir())[1]
        _damage_pages(last, group=1)
        return last

    def test_other_groups_are_written(self, base, damaged, tmp_path):
        """The rows of the damaged one are letters, without records, and the job is done."""
        report = run_job(
            base,
            damaged.parent,
            tmp_path / "out",
            key="id",
            model_version="all",
            on_error="dead_letter",
        )
        assert report.manifest["rows"] == 120
        assert report.manifest["dead_letters"] == {"read": 20}
        for version in (1, 2):
            part = tmp_path / "out" / "model_name=limited" / f"model_version={version}"
            ids = sorted(pq.read_table(part, columns=["id"])["id"].to_pylist())
            assert ids == [*range(80), *range(100, 120)]
        letters = _letters(tmp_path / "out")
        assert [each["source_row"] for each in letters] == list(range(20, 40))
        assert {each["source_file"] for each in letters} == {str(damaged)}
        assert {(each["stage"], each["error_code"]) for each in letters} == {("read", "DATA_LOSS")}
        assert {(each["model_name"], each["record"]) for each in letters} == {(None, None)}

    def test_the_error_names_file_and_group(self, base, damaged, tmp_path):
        """By default the job stops."""
        words = f"{damaged} is a corrupt Parquet file: row group 1 cannot be read"
        with pytest.raises(JobFailedError, match=words):
            run_job(base, damaged.parent, tmp_path / "out", key="id", model_version="1")


class TestUnits:
    def test_damage_that_cannot_be_put_aside_fails_its_unit_only(self, base, tmp_path, monkeypatch):
        """It is listed, nothing is declared done, and a resumed job tries it again."""
        (tmp_path / "in").mkdir()
        table = pa.table({"id": range(100), "x": pa.array(_values({})[:100], pa.float32())})
        write_parquet(table, tmp_path / "in", [50, 50], 50)
        last = sorted((tmp_path / "in").iterdir())[1]
        content = last.read_bytes()
        _damage_pages(last)
        monkeypatch.setattr(read_unit, "_MAX_LOST_ROWS", 49)
        options = {"key": "id", "model_version": "2", "on_error": "dead_letter", "unit_rows": 50}
        with pytest.raises(JobFailedError, match="1 of 2 units have no valid receipt"):
            run_job(base, tmp_path / "in", tmp_path / "out", **options)
        manifest = json.loads((tmp_path / "out" / "_manifest.json").read_text())
        (failed,) = manifest["failed_units"]
        assert failed["files"] == [str(last)]
        assert failed["error"]
        assert not (tmp_path / "out" / "_SUCCESS").exists()
        stat = last.stat()
        last.write_bytes(content)
        os.utime(last, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as if it had not changed
        report = run_job(base, tmp_path / "in", tmp_path / "out", if_exists="resume")
        assert read_output(report.output).num_rows == 100
        assert report.manifest["failed_units"] == []


def _damage_pages(path, group=0):
    offset = pq.ParquetFile(path).metadata.row_group(group).column(1).data_page_offset
    content = bytearray(path.read_bytes())
    content[offset : offset + 30] = b"\xff" * 30
    path.write_bytes(bytes(content))

import hashlib
import json
import shlex
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.cli import main
from pipelines.precompute import summary
from tests.datasets import write_parquet, write_tfrecord
from tests.jobs import run_job
from tests.models import save_linear

NUM_ROWS = 1000


@pytest.fixture(scope="module", name="report")
def _report(tmp_path_factory):
    """A finished job of two versions over several units."""
    root = tmp_path_factory.mktemp("job")
    for version in (1, 4):
        save_linear(root / "ranker", version)
    matrix = np.random.default_rng(0).normal(size=(NUM_ROWS, 4)).astype(np.float32)
    features = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), 4)
    table = pa.table({"id": range(NUM_ROWS), "features": features})
    write_parquet(table, root / "in", [400, 0, 600], 100)
    return run_job(
        root / "ranker",
        root / "in",
        root / "out",
        key="id",
        model_version="all",
        unit_rows=300,
        max_batch_size=64,
    )


@pytest.fixture(name="output")
def _output(report):
    return Path(report.output)


def _manifest(output):
    return json.loads((output / "_manifest.json").read_text())


class TestManifest:
    def test_counts_and_models(self, report, output):
        """The manifest says how much was done, and of which models."""
        manifest = _manifest(output)
        assert manifest == report.manifest
        assert manifest["rows"] == NUM_ROWS
        assert manifest["units"] == len(report.plan.units) == 4
        assert manifest["files"] == 8
        assert manifest["batches"] >= NUM_ROWS / 64
        models = [(each["name"], each["version"], each["rows"]) for each in manifest["models"]]
        assert models == [("ranker", 1, NUM_ROWS), ("ranker", 4, NUM_ROWS)]
        planned = {each.version: (each.path, each.fingerprint) for each in report.plan.models}
        found = {
            each["version"]: (each["path"], each["fingerprint"]) for each in manifest["models"]
        }
        assert found == planned
        parts = list(output.glob("model_name=*/model_version=*/*.parquet"))
        assert manifest["bytes_written"] == sum(each.stat().st_size for each in parts)
        assert manifest["peak_rss_bytes"] > 100 << 20
        assert 0 < manifest["timings"]["steady_secs"] < 60

    def test_times(self, report, output):
        """Each stage has its time, and a unit's own thread has not done two things at once."""
        manifest = _manifest(output)
        secs = manifest["stage_secs"]
        for stage in ("read", "bind", "queue", "run", "convert", "write"):
            assert secs[stage] > 0
        units = pq.read_table(output / "_units/units.parquet").to_pylist()
        own = ("wait_for_rows", "bind", "wait_for_model", "convert", "write")
        unit_secs = sum(each["ended_secs"] - each["started_secs"] for each in units)
        assert sum(secs[stage] for stage in own) <= unit_secs + 0.01
        steady_secs = manifest["timings"]["steady_secs"]
        assert manifest["rows_per_sec"] == pytest.approx(NUM_ROWS / steady_secs, rel=0.01)
        assert manifest["retries"] == 0
        assert set(manifest["model_loads"]) == {"ranker/1", "ranker/4"}
        assert all(each["load_secs"] > 0 for each in manifest["model_loads"].values())

    def test_lineage_without_a_command(self, output):
        """The versions that ran are there; Python code started the job, so no command is."""
        lineage = _manifest(output)["lineage"]
        assert lineage["command_lines"] == []
        (packages,) = lineage["packages"]
        assert (packages["numpy"], packages["pyarrow"]) == (np.__version__, pa.__version__)

    def test_summary(self, report):
        """The last lines tell the times, the bytes and what the models took to load."""
        lines = summary(report).splitlines()
        assert [each for each in lines if each.startswith("  seconds      read ")]
        assert [each for each in lines if each.startswith("  bytes        ")]
        assert [each for each in lines if f"_version=4  {NUM_ROWS:,} rows, loaded in " in each]

    def test_what_lies_in_the_directory(self, output):
        """Plan, receipts, manifest, `_SUCCESS` and parts; nothing temporary and nothing else."""
        names = {each.name for each in output.iterdir()}
        assert names == {"_SUCCESS", "_manifest.json", "_plan", "_units", "model_name=ranker"}
        assert (output / "_SUCCESS").read_bytes() == b""
        for version in (1, 4):
            parts = (output / f"model_name=ranker/model_version={version}").iterdir()
            names = sorted(each.name for each in parts)
            assert names == [f"part-{index:05d}-of-00004.parquet" for index in range(4)]

    def test_unit_table_agrees_with_the_files(self, report, output):
        """Each unit's row in the table tells the rows, the size and the digest of its parts."""
        units = pq.read_table(output / "_units/units.parquet").to_pylist()
        assert [each["unit"] for each in units] == list(range(4))
        assert [each["rows_read"] for each in units] == [u.num_rows for u in report.plan.units]
        assert sum(each["rows_read"] for each in units) == NUM_ROWS
        paths = []
        for unit in units:
            assert unit["started_secs"] <= unit["ended_secs"]
            assert [each["model_version"] for each in unit["files"]] == [1, 4]
            for each in unit["files"]:
                content = (output / each["path"]).read_bytes()
                assert each["rows"] == unit["rows_read"]
                assert each["rows"] == pq.read_metadata(output / each["path"]).num_rows
                assert each["size_bytes"] == len(content)
                assert each["sha256"] == hashlib.sha256(content).hexdigest()
                paths.append(each["path"])
        found = output.glob("model_name=*/model_version=*/*.parquet")
        assert sorted(paths) == sorted(str(each.relative_to(output)) for each in found)

    def test_versions_of_a_unit_have_the_same_rows(self, output):
        """Parts of the same number hold the same ids in the same order for each version."""
        for index in range(4):
            name = f"part-{index:05d}-of-00004.parquet"
            first, second = (
                pq.read_table(output / f"model_name=ranker/model_version={version}/{name}")
                for version in (1, 4)
            )
            assert first["id"].equals(second["id"])
            assert not first["score"].equals(second["score"])


def test_commands_are_recorded(report, output, tmp_path):
    """The command that began the job, and the one that resumed it, each as a shell takes it."""
    started = [
        f"--model_base_path={output.parent / 'ranker'}",
        f"--input={output.parent / 'in'}",
        f"--output={tmp_path / 'out'}",
        *("--key=id", "--unit_rows=300"),
    ]
    assert main(["precompute", *started]) == 0
    for name in ("_SUCCESS", "_units/unit-00001.json"):
        (tmp_path / "out" / name).unlink()
    resumed = [f"--output={tmp_path / 'out'}", "--if_exists=resume"]
    assert main(["precompute", *resumed]) == 0
    found = [shlex.split(each) for each in _manifest(tmp_path / "out")["lineage"]["command_lines"]]
    assert found == [["run_pipeline.py", "precompute", *args] for args in (started, resumed)]


def test_input_without_rows_in_some_units(report, output, tmp_path):
    """A unit that turns out to be empty has a receipt and no part, and the job is complete."""
    columns = {"id": np.arange(10), "features": np.ones((10, 4), np.float32)}
    for index, rows in enumerate((slice(6), slice(0), slice(6, 10))):
        path = tmp_path / f"in/{index}.tfrecord.gz"
        write_tfrecord(columns, path, compression="GZIP", rows=rows)
    again = run_job(
        output.parent / "ranker", tmp_path / "in", tmp_path / "out", key="id", unit_bytes=1
    )
    manifest = _manifest(tmp_path / "out")
    assert again.rows == manifest["rows"] == 10
    assert (manifest["units"], manifest["files"]) == (3, 2)
    units = pq.read_table(tmp_path / "out/_units/units.parquet").to_pylist()
    assert [(each["rows_read"], len(each["files"])) for each in units] == [(6, 1), (0, 0), (4, 1)]
    assert (tmp_path / "out/_SUCCESS").exists()

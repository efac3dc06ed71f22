"""Evaluations whose models, data and output are objects of a store."""

import json
import threading

import pytest

from pipelines import evaluate as evaluate_job
from pipelines import remote_lock
from pipelines.cli import main
from tests import memory_file_system as memory
from tests.evaluation_jobs import evaluate, save_versions, write_data

GATE = "gate: {rules: [{metric: auc, test: non_inferior, margin: {absolute: 0.5}}]}\n"


@pytest.fixture(name="store")
def _store(tmp_path):
    save_versions(tmp_path / "ctr", (1, 2))
    write_data(tmp_path / "data")
    (tmp_path / "gate.yaml").write_text(GATE)
    memory.clear()
    memory.put_tree(tmp_path, "mem://bucket")
    yield "mem://bucket"
    memory.clear()


def test_everything_may_be_objects(store):
    output = f"{store}/out"
    flags = ["--baseline=1", "--candidate=2", "--slice=country", f"--eval_config={store}/gate.yaml"]
    data = f"{store}/data/*.parquet"
    assert evaluate(f"{store}/ctr", data, output, *flags) == 0
    names = {each.removeprefix(f"{output}/") for each in memory.paths(output)}
    assert {"metrics.json", "verdict.json", "BLESSED", "states/evaluation.json"} <= names
    assert not [name for name in names if name.startswith("_job")]
    assert evaluate(f"{store}/ctr", data, output, *flags) == 2
    assert main(["gate", f"--states={output}", f"--eval_config={store}/gate.yaml"]) == 0
    document = json.loads(memory.content(f"{output}/metrics.json"))
    assert document["candidates"] == [2]


def test_who_loses_the_output_leaves_it_as_it_is(store, monkeypatch, capsys):
    """The evaluation ends with one message; what the new holder wrote by then is not cleared away."""
    monkeypatch.setattr(remote_lock, "_HEARTBEAT_SECS", 0.02)
    scratch = f"{store}/out/_job"

    def taken_over(_options, _runner, _prepared, lock, _clock):
        (path,) = memory.paths(f"{scratch}/_plan/lock-")
        fields = json.loads(memory.content(path))
        fields |= {"owner": "process 7 on elsewhere", "replaces": [path.rpartition("/")[2]]}
        memory.put(f"{scratch}/_plan/lock-{'0' * 32}", json.dumps(fields).encode())
        memory.put(f"{scratch}/state", b"of another job")
        lost = threading.Event()
        with lock.stopping(lambda _: lost.set()):
            assert lost.wait(20)

    monkeypatch.setattr(evaluate_job, "_launch", taken_over)
    flags = ["--baseline=1", "--candidate=2"]
    assert evaluate(f"{store}/ctr", f"{store}/data/*.parquet", f"{store}/out", *flags) == 1
    assert "was taken over by process 7 on elsewhere" in capsys.readouterr().err
    assert memory.content(f"{scratch}/state") == b"of another job"
    assert f"{scratch}/_plan/lock-{'0' * 32}" in memory.paths(scratch)

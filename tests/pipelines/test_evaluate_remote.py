"""Evaluations whose models, data and output are objects of a store."""

import json

import pytest

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

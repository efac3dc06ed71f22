"""States are the same bytes however rows are spread; and saved predictions stand for models."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.dataset as ds
import pytest

from pipelines.cli import main
from servable_core.errors import DataLossError, NotFoundError
from tests.datasets import write_parquet
from tests.evaluation_jobs import evaluate, save_versions, write_data
from transforms.evaluation.finalise import evaluation_results
from transforms.evaluation.state_files import read_states

CONFIG = """
label: label
weight: weight
slices: [country, "country,age=[30,60]"]
"""
COLUMNS = "label,weight,country,age"


@pytest.fixture(scope="module", name="root")
def _root(tmp_path_factory):
    """Predictions of two versions, saved in three files and in many, and a configuration."""
    root = tmp_path_factory.mktemp("states")
    save_versions(root / "ctr", (1, 2))
    data = write_data(root / "data")
    models = [f"--model_base_path={root}/ctr", "--model_version=all", f"--input={data}"]
    flags = ["--key=id", f"--passthrough={COLUMNS}"]
    assert main(["precompute", *models, *flags, f"--output={root}/few"]) == 0
    shutil.copytree(root / "few", root / "many")
    for version, file_rows in ((1, 333), (2, 500)):
        _cut(root / f"many/model_name=ctr/model_version={version}", file_rows)
    (root / "eval.yaml").write_text(CONFIG)
    return root


def _cut(directory, file_rows):
    """Writes the rows of a directory as files of that many rows, in an order of its own."""
    table = ds.dataset(str(directory)).to_table()
    shutil.rmtree(directory)
    random = np.random.default_rng(file_rows)
    shuffled = table.take(random.permutation(table.num_rows))
    num_files = -(-table.num_rows // file_rows)
    write_parquet(
        shuffled,
        directory,
        [min(file_rows, table.num_rows - index * file_rows) for index in range(num_files)],
        100,
    )


def _evaluate_saved(root, output, predictions, *flags):
    config = f"--eval_config={root}/eval.yaml"
    return evaluate(None, None, output, f"--predictions={predictions}", config, *flags, label="")


def _states(output):
    return {path.name: path.read_bytes() for path in sorted(Path(output).glob("states/*.parquet"))}


@pytest.fixture(scope="module", name="expected")
def _expected(root):
    """The states of predictions in few files, evaluated by one thread."""
    assert _evaluate_saved(root, root / "one", root / "few", "--direct_num_workers=1") == 0
    return _states(root / "one")


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("many", ["--direct_num_workers=1"]),
        ("many", ["--direct_num_workers=4"]),
        ("many", ["--direct_num_workers=2", "--direct_running_mode=multi_processing"]),
    ],
    ids=["many bundles", "threads", "processes"],
)
def test_states_are_the_same_bytes_however_rows_are_spread(root, expected, tmp_path, name, flags):
    assert len(list(root.glob("many/model_name=*/model_version=1/*.parquet"))) > 4
    output = tmp_path / "out"
    assert _evaluate_saved(root, output, root / name, *flags) == 0
    found = _states(output)
    assert found.keys() == expected.keys()
    assert [each for each in found if found[each] != expected[each]] == []
    assert len(found) > 5


def test_saved_predictions_stand_for_models(root, expected, tmp_path):
    """Versions tell the same rows apart whether they are asked now or were before."""
    output = tmp_path / "out"
    flags = ["--baseline=1", "--candidate=2", "--example_key=id"]
    config = f"--eval_config={root}/eval.yaml"
    data = f"{root}/data/*.parquet"
    assert evaluate(root / "ctr", data, output, *flags, config, label="") == 0
    found, before = (evaluation_results(read_states(str(each))) for each in (output, root / "one"))
    assert [each.key for each in found.slices] == [each.key for each in before.slices]
    fingerprints = [read_states(str(each)).facts["models"] for each in (output, root / "one")]
    assert fingerprints[0] == fingerprints[1]
    assert fingerprints[0].keys() == {"1", "2"}
    auc, earlier = (each.find("auc", 2, is_difference=True) for each in (found, before))
    assert auc.estimate.value == pytest.approx(earlier.estimate.value, abs=1e-6)


def test_a_baseline_alone_is_compared_with_all_others(root, tmp_path):
    assert _evaluate_saved(root, tmp_path / "out", root / "few", "--baseline=2") == 0
    assert read_states(str(tmp_path / "out")).setup.versions == (2, 1)


def test_versions_may_be_saved_apart(root, expected, tmp_path):
    output = tmp_path / "out"
    config = f"--eval_config={root}/eval.yaml"
    apart = [f"--predictions=1={root}/few", f"--predictions=2={root}/many"]
    assert evaluate(None, None, output, *apart, config, label="") == 0
    assert _states(output) == expected


def test_a_deterministic_evaluation_of_models_repeats_itself(root, tmp_path):
    flags = ["--baseline=1", "--candidate=2", "--deterministic", "--unit_rows=400"]
    data = f"{root}/data/*.parquet"
    outputs = [tmp_path / each for each in ("a", "b")]
    for output, workers in zip(outputs, (1, 3), strict=True):
        threads = f"--direct_num_workers={workers}"
        assert evaluate(root / "ctr", data, output, *flags, threads) == 0
    assert _states(outputs[0]) == _states(outputs[1])


def test_a_column_that_was_not_passed_through_is_told(root, tmp_path, capsys):
    assert _evaluate_saved(root, tmp_path / "out", root / "few", "--slice=user") == 2
    assert "precompute them with --passthrough=user; there are: " in capsys.readouterr().err
    assert _evaluate_saved(root, tmp_path / "out", root / "few", "--slice=contry") == 2
    assert "did you mean 'country'?" in capsys.readouterr().err


def test_models_do_not_go_with_saved_predictions(root, tmp_path, capsys):
    output = tmp_path / "out"
    flags = ["--input=x.parquet"]
    assert _evaluate_saved(root, output, root / "few", *flags) == 2
    assert "does not go with --input" in capsys.readouterr().err


def test_states_are_read_from_the_output_or_below(root, expected):
    assert read_states(str(root / "one")).setup == read_states(str(root / "one/states")).setup


def test_states_that_are_not_there_are_told(tmp_path):
    with pytest.raises(NotFoundError, match="give the --output of an evaluate job"):
        read_states(str(tmp_path))


def test_damaged_states_are_told(root, expected, tmp_path):
    assert _evaluate_saved(root, tmp_path / "out", root / "few") == 0
    states = tmp_path / "out" / "states"
    content = (states / "rows.parquet").read_bytes()
    (states / "rows.parquet").write_bytes(content[:-1] + b"?")
    with pytest.raises(DataLossError, match=r"rows\.parquet is missing or is not the one"):
        read_states(str(states))
    (states / "rows.parquet").write_bytes(content)
    document = json.loads((states / "evaluation.json").read_text())
    del document["setup"]["task"]
    (states / "evaluation.json").write_text(json.dumps(document))
    with pytest.raises(DataLossError, match="damaged"):
        read_states(str(states))

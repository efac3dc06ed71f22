"""What is wrong with a request is one message and exit code 2, before anything is run."""

import json
import re

import numpy as np
import pyarrow as pa
import pytest

from tests.evaluation_jobs import evaluate, labelled_table, save_versions, write_data
from tests.models import save_classes, save_probability

VERSIONS = ("--baseline=1", "--candidate=2")


@pytest.fixture(scope="module", name="base_path")
def _base_path(tmp_path_factory):
    return save_versions(tmp_path_factory.mktemp("models") / "ctr", (1, 2))


@pytest.fixture(scope="module", name="data")
def _data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


def _refused(output, error):
    """Returns the one message; checks that nothing was written."""
    assert not output.exists() or not list(output.iterdir())
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([*VERSIONS, "--label=clicked"], "--label=clicked: the data have no such column"),
        ([*VERSIONS, "--weight=weights"], "--weight=weights: .* did you mean 'weight'"),
        ([*VERSIONS, "--slice=contry"], "--slice=contry: .* did you mean 'country'"),
        ([*VERSIONS, "--cluster_key=usr"], "--cluster_key=usr: .* no such column"),
        ([*VERSIONS, "--example_key=key"], "--example_key=key: .* no such column"),
        ([*VERSIONS, "--label=country"], "label"),
        ([*VERSIONS, "--label=features"], "label"),
        ([*VERSIONS, "--thresholds=0.5,2"], "thresholds must lie between 0 and 1, got 2"),
        ([*VERSIONS, "--thresholds=half"], "expected numbers with commas"),
        ([*VERSIONS, "--task=ranking"], "--task must be one of binary, multiclass, regression"),
        ([*VERSIONS, "--prediction=score"], "prediction.*score.*probability"),
        ([*VERSIONS, "--metrics=tests.own_metrics:broken"], "no metrics today"),
        ([*VERSIONS, "--metrics=tests.own_metrics:none"], "has no 'none'"),
        ([*VERSIONS, "--slice=age=[30,18]"], "increase"),
        ([*VERSIONS, "--if_exists=resume"], "precompute the versions, which can be resumed"),
        ([*VERSIONS, "--version_label=stable"], "--baseline or --candidate"),
        ([*VERSIONS, "--model_version=all"], "--model_version=all and --candidate"),
        ([*VERSIONS, "--lable=x"], "unknown flag --lable; did you mean --label"),
        ([*VERSIONS, "--predictions=there"], "--predictions takes the place of models and data"),
        (["--baseline=1", "--candidate=1"], "version 1 is the baseline and a candidate"),
        (["--candidate=1", "--candidate=1"], "version 1 is a candidate twice"),
        (["--baseline=1", "--candidate=5"], "5"),
        (["--baseline=old", "--candidate=1"], "labels need --model_config_file"),
        ([], "which versions are to be compared"),
    ],
)
def test_a_wrong_flag_is_told(base_path, data, tmp_path, capsys, flags, words):
    output = tmp_path / "out"
    has_label = any(each.startswith("--label") for each in flags)
    assert evaluate(base_path, data, output, *flags, label="" if has_label else "label") == 2
    error = _refused(output, capsys.readouterr().err)
    assert re.search(words, error)


def test_too_many_slices_are_told_before_inference(base_path, data, tmp_path, capsys):
    config = tmp_path / "eval.yaml"
    config.write_text("slices: ['age,country']\nmax_slices: 20\n")
    output = tmp_path / "out"
    assert evaluate(base_path, data, output, *VERSIONS, f"--eval_config={config}") == 2
    error = _refused(output, capsys.readouterr().err)
    assert "20" in error
    assert "age" in error


def test_values_beyond_the_cap_are_one_slice(base_path, data, tmp_path):
    config = tmp_path / "eval.yaml"
    config.write_text("slices: [country]\nmax_values_per_column: 1\n")
    output = tmp_path / "out"
    assert evaluate(base_path, data, output, *VERSIONS, f"--eval_config={config}") == 0
    slices = json.loads((output / "metrics.json").read_text())["slices"]
    names = [each["slice"].get("country") for each in slices]
    assert names == [None, "DE", "__other__"]


@pytest.mark.parametrize("save", ["other_outputs", "other_classes"])
def test_versions_with_other_outputs_are_not_compared(data, tmp_path, capsys, save):
    base_path = tmp_path / "models"
    if save == "other_outputs":
        save_probability(base_path, 1)
    else:
        save_classes(base_path, 1, num_classes=4)
    save_classes(base_path, 2)
    output = tmp_path / "out"
    flags = ["--task=multiclass"] if save == "other_classes" else []
    assert evaluate(base_path, data, output, *VERSIONS, *flags) == 2
    assert "version" in _refused(output, capsys.readouterr().err)


def test_data_without_rows_are_told(base_path, tmp_path, capsys):
    data = write_data(tmp_path / "data", labelled_table().slice(0, 0))
    output = tmp_path / "out"
    assert evaluate(base_path, data, output, *VERSIONS) == 2
    assert "row" in _refused(output, capsys.readouterr().err)


def test_scores_that_are_no_numbers_are_counted(base_path, tmp_path):
    table = labelled_table()
    features = table["features"].combine_chunks().flatten().to_numpy().copy()
    features[:8] = np.nan
    column = pa.FixedSizeListArray.from_arrays(pa.array(features), 4)
    index = table.schema.get_field_index("features")
    data = write_data(tmp_path / "data", table.set_column(index, "features", column))
    output = tmp_path / "out"
    assert evaluate(base_path, data, output, *VERSIONS) == 0
    found = json.loads((output / "metrics.json").read_text())["metrics"]
    counts = {
        (each["metric"], each["version"]): each["value"] for each in found if not each["slice"]
    }
    assert counts["nan_scores", 1] == counts["nan_scores", 2] == 2
    assert counts["valid_rows", 1] == table.num_rows - 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("job: {inputs: x}", "job: .*inputs.* is no flag of evaluate"),
        ("job: {limit: many}", "job: .*--limit: expected a whole number"),
        ("gate: {rules: [{metric: auc, tset: superior}]}", "tset"),
        ("slices: ['a,,b']", "slice"),
    ],
)
def test_a_wrong_file_is_told(base_path, data, tmp_path, capsys, text, words):
    config, output = tmp_path / "eval.yaml", tmp_path / "out"
    config.write_text(text)
    assert evaluate(base_path, data, output, *VERSIONS, f"--eval_config={config}") == 2
    assert re.search(words, _refused(output, capsys.readouterr().err))


def test_several_models_are_not_compared(base_path, data, tmp_path, capsys):
    config = tmp_path / "models.config"
    config.write_text(
        "model_config_list {"
        + "".join(
            f' config {{ name: "{name}" base_path: "{base_path}" model_platform: "tensorflow"'
            " model_version_policy { specific { versions: 1 versions: 2 } }"
            ' version_labels { key: "stable" value: 1 } }'
            for name in ("a", "b")
        )
        + "}"
    )
    output = tmp_path / "out"
    flags = [f"--model_config_file={config}", "--baseline=stable", "--candidate=2"]
    assert evaluate(None, data, output, *flags) == 2
    assert "choose it with --model_name" in _refused(output, capsys.readouterr().err)
    assert evaluate(None, data, output, *flags, "--model_name=b") == 0
    document = json.loads((output / "metrics.json").read_text())
    assert (document["model"], document["baseline"], document["candidates"]) == ("b", 1, [2])

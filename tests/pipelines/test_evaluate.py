"""The evaluate job end to end: models and data in, numbers out."""

import json
import math
import os
import signal
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import log_loss, mean_absolute_error, roc_auc_score

from pipelines import launch
from pipelines.evaluation_outcome import tell_outcome
from tests.evaluation_jobs import (
    evaluate,
    labelled_table,
    predictions,
    save_versions,
    write_data,
)
from tests.models import call_model, save_choosy, save_classes, save_classifier

ALL = ()


@pytest.fixture(scope="module", name="base_path")
def _base_path(tmp_path_factory):
    return save_versions(tmp_path_factory.mktemp("models") / "ctr")


@pytest.fixture(scope="module", name="data")
def _data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module", name="everything")
def _everything(base_path, data, tmp_path_factory):
    """An evaluation with all there is, and its directory."""
    directory = tmp_path_factory.mktemp("everything")
    config = directory / "eval.yaml"
    config.write_text(
        """
thresholds: [0.3, 0.5]
slices: [country, "age=[30,60]", "country,age=[30,60]"]
candidates: [2, 3]
"""
    )
    flags = ["--baseline=1", "--example_key=id", f"--eval_config={config}", "--aa"]
    assert evaluate(base_path, data, directory / "out", *flags, "--weight=weight") == 0
    return directory / "out"


def _metrics(output):
    """Returns what metrics.json says, by metric, sub-key, version, kind and slice."""
    document = json.loads((output / "metrics.json").read_text())
    return {
        (
            each["metric"],
            each["sub_key"],
            each["version"],
            each["is_difference"],
            tuple(each["slice"].items()),
        ): each
        for each in document["metrics"]
    }


def test_a_baseline_alone_is_compared_with_all_others(base_path, data, tmp_path):
    assert evaluate(base_path, data, tmp_path / "out", "--baseline=2") == 0
    document = json.loads((tmp_path / "out/metrics.json").read_text())
    assert (document["baseline"], document["candidates"]) == (2, [1, 3])


def test_metrics_of_models_are_those_of_their_direct_calls(base_path, data, tmp_path):
    output = tmp_path / "out"
    code = evaluate(base_path, data, output, "--baseline=1", "--candidate=2", "--candidate=3")
    assert code == 0
    table, found = labelled_table(), _metrics(output)
    labels = table["label"].to_numpy()
    for version in (1, 2, 3):
        scores = predictions(base_path, version, table)
        auc = found["auc", "", version, False, ALL]
        assert auc["value"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
        assert auc["ci"][0] < auc["value"] < auc["ci"][1]
        loss = found["log_loss", "", version, False, ALL]["value"]
        assert loss == pytest.approx(log_loss(labels, scores.astype(np.float64)), abs=1e-9)
        assert found["inference_errors", "", version, False, ALL]["value"] == 0
    change = found["auc", "", 2, True, ALL]["value"]
    values = [found["auc", "", version, False, ALL]["value"] for version in (2, 1)]
    assert change == pytest.approx(values[0] - values[1], abs=1e-12)


def test_slices_are_measured_by_themselves(base_path, everything):
    table, found = labelled_table(), _metrics(everything)
    for country in ("DE", "FR", "IT"):
        rows = table.filter(pa.compute.equal(table["country"], country))
        scores = predictions(base_path, 2, rows)
        expected = roc_auc_score(
            rows["label"].to_numpy(), scores, sample_weight=rows["weight"].to_numpy()
        )
        value = found["auc", "", 2, False, (("country", country),)]["value"]
        assert value == pytest.approx(expected, abs=1e-9)
    slices = json.loads((everything / "metrics.json").read_text())["slices"]
    rows = {tuple(each["slice"].items()): each["rows"] for each in slices}
    assert rows[ALL] == table.num_rows
    ages = ("(-inf, 30)", "[30, 60)", "[60, inf)")
    assert sum(rows[("age", each),] for each in ages) == table.num_rows
    assert rows[("age", "[30, 60)"), ("country", "DE")] > 0


def test_the_long_table_has_everything(everything):
    table = pq.read_table(everything / "metrics.parquet")
    document = json.loads((everything / "metrics.json").read_text())
    assert table.num_rows == len(document["metrics"])
    assert set(table["version"].to_pylist()) == {1, 2, 3}
    rows = table.filter(pa.compute.equal(table["metric"], "auc")).to_pylist()
    (overall,) = [
        each
        for each in rows
        if each["slice_id"] == 0 and each["version"] == 2 and each["baseline"] is None
    ]
    assert overall["ci_lo"] < overall["value"] < overall["ci_hi"]
    assert overall["ci_level"] == 0.95
    assert overall["model"] == "ctr"
    differences = [each for each in rows if each["baseline"] is not None]
    assert {each["baseline"] for each in differences} == {1}
    groups = pq.ParquetFile(everything / "metrics.parquet").num_row_groups
    assert groups == len(set(table["metric"].to_pylist()))


def test_decisions_are_taken_at_each_threshold(base_path, everything):
    table, found = labelled_table(), _metrics(everything)
    scores = predictions(base_path, 3, table)
    labels, weights = table["label"].to_numpy(), table["weight"].to_numpy()
    for threshold in (0.3, 0.5):
        hits = (scores >= threshold) & (labels == 1)
        recall = weights[hits].sum() / weights[labels == 1].sum()
        value = found["recall", f"threshold={threshold:g}", 3, False, ALL]["value"]
        assert value == pytest.approx(recall, abs=1e-9)


def test_the_noise_floor_is_that_of_one_version(everything):
    floor = json.loads((everything / "metrics.json").read_text())["facts"]["noise_floor"]
    assert floor["rows"] == labelled_table().num_rows
    assert 0 <= floor["max_difference"] < 1e-5
    assert 0 <= floor["flip_rate"] < 0.01


def test_without_labels_only_differences_are_told(base_path, data, tmp_path):
    output = tmp_path / "out"
    assert evaluate(base_path, data, output, "--model_version=all", label="") == 0
    names = {each[0] for each in _metrics(output)}
    assert {"psi", "absolute_difference"} <= names
    assert not {"auc", "log_loss", "accuracy"} & names


def test_one_version_alone_is_measured(base_path, data, tmp_path):
    output = tmp_path / "out"
    assert evaluate(base_path, data, output, "--candidate=2") == 0
    found = _metrics(output)
    assert ("auc", "", 2, False, ALL) in found
    assert not any(is_difference for _, _, _, is_difference, _ in found)


def test_numbers_are_compared(base_path, data, tmp_path):
    output = tmp_path / "out"
    flags = ["--baseline=1", "--candidate=2", "--prediction=logit", "--task=regression"]
    assert evaluate(base_path, data, output, *flags, label="amount") == 0
    table = labelled_table()
    matrix = table["features"].combine_chunks().flatten().to_numpy().reshape(-1, 4)
    scores = call_model(f"{base_path}/2", features=matrix)["logit"]
    expected = mean_absolute_error(table["amount"].to_numpy(), scores)
    assert _metrics(output)["mae", "", 2, False, ALL]["value"] == pytest.approx(expected, abs=1e-9)


def test_classes_are_compared(tmp_path):
    base_path = tmp_path / "colours"
    for version in (1, 2):
        save_classes(base_path, version)
    table = labelled_table()
    matrix = table["features"].combine_chunks().flatten().to_numpy().reshape(-1, 4)
    scores = {each: call_model(f"{base_path}/{each}", features=matrix) for each in (1, 2)}
    labels = scores[1]["probabilities"].argmax(axis=1)
    data = write_data(tmp_path / "data", table.append_column("colour", pa.array(labels)))
    output = tmp_path / "out"
    assert evaluate(base_path, data, output, "--model_version=all", label="colour") == 0
    found = _metrics(output)
    assert found["accuracy", "", 1, False, ALL]["value"] == 1.0
    accuracy = (scores[2]["probabilities"].argmax(axis=1) == labels).mean()
    assert found["accuracy", "", 2, False, ALL]["value"] == pytest.approx(accuracy, abs=1e-12)
    churn = [each for key, each in found.items() if key[:1] == ("churn",)]
    assert churn
    assert churn[0]["value"] == pytest.approx(1 - accuracy, abs=1e-12)


def test_classes_are_matched_by_name(tmp_path):
    """A version that names the same classes in another order predicts the same."""
    base_path = tmp_path / "animals"
    save_classifier(base_path, 1, ["ox", "cat", "bear"])
    save_classifier(base_path, 2, ["bear", "ox", "cat"])
    labels = pa.array(["ox", "cat", "bear"] * 1000)
    data = write_data(tmp_path / "data", labelled_table().append_column("animal", labels))
    output = tmp_path / "out"
    flags = ["--model_version=all", "--method=classify", "--input_map=inputs=features"]
    assert evaluate(base_path, data, output, *flags, label="animal") == 0
    found = _metrics(output)
    assert found["bad_labels", "", 1, False, ALL]["value"] == 0
    assert 0.1 < found["accuracy", "", 1, False, ALL]["value"] < 0.9
    (churn,) = (each for key, each in found.items() if key[0] == "churn")
    assert churn["value"] == 0


def test_rows_that_fail_are_counted(base_path, data, tmp_path):
    """A null feature fails its row; with dead letters the others are evaluated."""
    table = labelled_table()
    features = table["features"].to_pylist()
    features[7] = features[2000] = None
    column = pa.array(features, table.schema.field("features").type)
    broken = table.set_column(table.schema.get_field_index("features"), "features", column)
    data = write_data(tmp_path / "data", broken)
    output = tmp_path / "out"
    flags = ["--baseline=1", "--candidate=2"]
    assert evaluate(base_path, data, tmp_path / "failed", *flags) in (1, 2)
    assert evaluate(base_path, data, output, *flags, "--on_error=dead_letter") == 0
    found = _metrics(output)
    for version in (1, 2):
        assert found["inference_errors", "", version, False, ALL]["value"] == 2
        assert found["auc", "", version, False, ALL]["rows"] == table.num_rows - 2


def test_rows_that_one_version_fails_at_count_for_none(tmp_path):
    """The version that fails on hard rows does not look better for it."""
    base_path = tmp_path / "models"
    save_choosy(base_path, 1, limit=100.0)
    save_choosy(base_path, 2, limit=2.0)
    table = labelled_table()
    first = table["features"].combine_chunks().flatten().to_numpy().reshape(-1, 4)[:, 0]
    num_failed = int((first >= 2).sum())
    assert num_failed > 10
    data = write_data(tmp_path / "data", table)
    output = tmp_path / "out"
    flags = ["--baseline=1", "--candidate=2", "--on_error=dead_letter", "--max_batch_size=64"]
    assert evaluate(base_path, data, output, *flags) == 0
    found = _metrics(output)
    assert found["inference_errors", "", 1, False, ALL]["value"] == 0
    assert found["inference_errors", "", 2, False, ALL]["value"] == num_failed
    assert found["nan_scores", "", 2, False, ALL]["value"] == num_failed
    assert found["valid_rows", "", 1, False, ALL]["value"] == table.num_rows - num_failed
    kept = first < 2
    expected = roc_auc_score(table["label"].to_numpy()[kept], first[kept])
    assert found["auc", "", 1, False, ALL]["value"] == pytest.approx(expected, abs=1e-9)
    letters = pq.read_table(output / "_dead_letters")
    assert sorted(set(letters["model_version"].to_pylist())) == [2]
    assert letters.num_rows == num_failed


def test_too_many_failures_end_the_job(tmp_path, capsys):
    base_path = tmp_path / "models"
    save_choosy(base_path, 1, limit=2.0)
    data = write_data(tmp_path / "data")
    output = tmp_path / "out"
    flags = ["--candidate=1", "--on_error=dead_letter", "--max_failed_fraction=0.001"]
    assert evaluate(base_path, data, output, *flags) == 1
    assert "more than --max_failed_fraction=0.001 allows" in capsys.readouterr().err
    assert not (output / "metrics.json").exists()


def test_a_row_that_fails_ends_the_job_with_its_place(tmp_path, capsys):
    base_path = tmp_path / "models"
    save_choosy(base_path, 1, limit=100.0)
    table = labelled_table()
    values = table["features"].combine_chunks().flatten().to_numpy().copy()
    values[4 * 2500] = 1000.0
    column = pa.FixedSizeListArray.from_arrays(pa.array(values), 4)
    index = table.schema.get_field_index("features")
    data = write_data(tmp_path / "data", table.set_column(index, "features", column))
    output = tmp_path / "out"
    assert evaluate(base_path, data, output, "--candidate=1", "--unit_rows=400") == 1
    error = capsys.readouterr().err
    assert "part-02.parquet" in error
    assert "the first is too large" in error
    assert not (output / "states").exists()
    assert not (output / "_job").exists()


def stop_here(batch):
    """Sends Ctrl-C while the data is read."""
    if 2500 in batch.column("id").to_pylist():
        os.kill(os.getpid(), signal.SIGINT)
    return batch


def test_ctrl_c_leaves_nothing_half_done(base_path, data, tmp_path, capsys):
    output = tmp_path / "out"
    flags = ["--baseline=1", "--candidate=2", "--unit_rows=400", "--example_key=id"]
    stop = f"--preprocess={__name__}:stop_here"
    assert evaluate(base_path, data, output, *flags, stop) == 130
    assert "stopped: SIGINT" in capsys.readouterr().err
    assert not (output / "metrics.json").exists()
    assert not (output / "states").exists()
    assert evaluate(base_path, data, output, *flags) == 0


def _then_ctrl_c(run, *args, **kwargs):
    run(*args, **kwargs)
    os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_after_the_last_unit_stops_as_well(base_path, data, tmp_path, capsys, monkeypatch):
    """Nothing checks the abort token by then, and the verdict is still to be made."""
    output = tmp_path / "out"
    with monkeypatch.context() as patched:
        patched.setattr(launch, "run_evaluation", partial(_then_ctrl_c, launch.run_evaluation))
        assert evaluate(base_path, data, output, "--candidate=2") == 130
    assert "stopped: SIGINT" in capsys.readouterr().err
    assert not list(output.iterdir())
    assert evaluate(base_path, data, output, "--candidate=2") == 0


def test_the_directory_is_locked_until_the_verdict_is_written(
    base_path, data, tmp_path, capsys, monkeypatch
):
    """Else another job may replace the states, and leave them beside this one's metrics."""
    output = tmp_path / "out"
    flags = ["--candidate=2", "--if_exists=overwrite"]
    codes = []

    def told_late(*args, **kwargs):
        monkeypatch.undo()
        codes.append(evaluate(base_path, data, output, *flags))
        return tell_outcome(*args, **kwargs)

    monkeypatch.setattr("pipelines.evaluate.tell_outcome", told_late)
    assert evaluate(base_path, data, output, *flags) == 0
    assert codes == [2]
    assert "is being written by another job" in capsys.readouterr().err
    assert not (output / "_job").exists()


def test_rows_that_cannot_be_evaluated_are_counted(base_path, tmp_path):
    table = labelled_table()
    labels = [float(each) for each in table["label"].to_pylist()]
    labels[3] = math.nan
    labels[4] = 5.0
    index = table.schema.get_field_index("label")
    data = write_data(tmp_path / "data", table.set_column(index, "label", pa.array(labels)))
    output = tmp_path / "out"
    flags = ["--baseline=1", "--candidate=2", "--task=binary"]
    assert evaluate(base_path, data, output, *flags) == 0
    found = _metrics(output)
    assert found["missing_labels", "", 1, False, ALL]["value"] == 1
    assert found["bad_labels", "", 1, False, ALL]["value"] == 1
    assert found["valid_rows", "", 1, False, ALL]["value"] == table.num_rows - 2


def test_an_evaluation_is_replaced_only_when_asked_to(base_path, data, tmp_path, capsys):
    output = tmp_path / "out"
    assert evaluate(base_path, data, output, "--candidate=2") == 0
    before = (output / "metrics.json").read_bytes()
    assert evaluate(base_path, data, output, "--candidate=2") == 2
    assert "holds an evaluation; replace it with --if_exists=overwrite" in capsys.readouterr().err
    (output / "strange.txt").write_text("mine")
    assert evaluate(base_path, data, output, "--candidate=2", "--if_exists=overwrite") == 2
    (output / "strange.txt").unlink()
    assert evaluate(base_path, data, output, "--candidate=3", "--if_exists=overwrite") == 0
    assert (output / "metrics.json").read_bytes() != before
    assert not (output / "_job").exists()


def test_the_file_gives_flags_and_flags_win(base_path, data, tmp_path):
    config = tmp_path / "eval.yaml"
    config.write_text(
        f"""
label: label
candidates: [2]
job:
  model_base_path: {base_path}
  input: ["{data}"]
  limit: 500
"""
    )
    output = tmp_path / "out"
    flags = [f"--eval_config={config}", "--candidate=3", "--limit=700"]
    assert evaluate(None, None, output, *flags, label="") == 0
    found = _metrics(output)
    assert found["auc", "", 3, False, ALL]["rows"] == 700


def test_metrics_of_your_own_are_measured_with_the_others(base_path, data, tmp_path):
    output = tmp_path / "out"
    flags = ["--baseline=1", "--candidate=2", "--metrics=tests.own_metrics:extra"]
    assert evaluate(base_path, data, output, *flags) == 0
    found = _metrics(output)
    table = labelled_table()
    decided = predictions(base_path, 2, table) >= 0.5
    labels = table["label"].to_numpy()
    expected = np.where(decided, 1 - labels, 5 * labels).mean()
    assert found["cost", "", 2, False, ALL]["value"] == pytest.approx(expected, abs=1e-9)
    assert found["cost", "", 2, True, ALL]["ci"][0] is not None

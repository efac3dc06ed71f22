"""What a user of saved predictions meets: numbers that others agree with, and clear refusals."""

import json
import re

import numpy as np
import pyarrow as pa
import pytest
from sklearn import metrics

from tests.evaluation_jobs import evaluate
from tests.transforms.evaluation.saved import save_version

NUM_ROWS = 2000
ALL = ()


def _rows():
    """Returns labels of two classes, the scores of two versions, and columns to slice by."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, NUM_ROWS)
    logits = random.normal(size=NUM_ROWS) + labels
    others = logits + 0.5 * random.normal(size=NUM_ROWS)
    return {
        "id": [f"key-{each}" for each in range(NUM_ROWS)],
        "y": labels,
        "w": random.random(NUM_ROWS).astype(np.float32),
        "country": pa.array(random.choice(["DE", "FR", None], NUM_ROWS)),
        "logit": logits,
        "probability": 1 / (1 + np.exp(-logits)),
        "other": (1 / (1 + np.exp(-others))).astype(np.float32),
    }


@pytest.fixture(scope="module", name="rows")
def _shared_rows():
    return _rows()


def _save(directory, rows, first="probability", second="other", of_second=None, **columns):
    """Saves two versions, the second in another order and other files; returns its directory."""
    data = {name: rows[name] for name in ("id", "y", "w", "country")}
    table = pa.table({**data, "probability": rows[first], **columns})
    order = np.random.default_rng(1).permutation(len(table))
    scores = pa.table({"id": data["id"], "probability": rows[second]}).take(order)
    if of_second is not None:
        scores = of_second(scores)
    save_version(directory, 1, [table.slice(0, 700), table.slice(700)])
    save_version(directory, 2, [scores.slice(0, 1200), scores.slice(1200)])
    return directory


def _evaluate(directory, output, *flags, label="y"):
    flags = (f"--predictions={directory}", "--example_key=id", *flags)
    return evaluate(None, None, output, *flags, label=label)


def _metrics(output):
    document = json.loads((output / "metrics.json").read_text())
    return {
        (each["metric"], each["sub_key"], each["version"], tuple(each["slice"].items())): each[
            "value"
        ]
        for each in document["metrics"]
        if not each["is_difference"]
    }


def _check(output, expected):
    found = _metrics(output)
    assert {key: found[key] for key in expected} == {
        key: pytest.approx(value, abs=1e-9) for key, value in expected.items()
    }


def test_weights_of_32_bits(rows, tmp_path):
    """Weights count as they are, whatever floats a file has them in."""
    output = tmp_path / "out"
    assert _evaluate(_save(tmp_path / "p", rows), output, "--weight=w", "--slice=country") == 0
    is_german = np.array(rows["country"].to_pylist()) == "DE"
    expected = {}
    for version, name in ((1, "probability"), (2, "other")):
        labels, scores, weights = rows["y"], rows[name].astype(np.float64), rows["w"]
        given = {"sample_weight": weights}
        accuracy = metrics.accuracy_score(labels, scores >= 0.5, **given)
        expected |= {
            ("auc", "", version, ALL): metrics.roc_auc_score(labels, scores, **given),
            ("log_loss", "", version, ALL): metrics.log_loss(labels, scores, **given),
            ("accuracy", "threshold=0.5", version, ALL): accuracy,
            ("auc", "", version, (("country", "DE"),)): metrics.roc_auc_score(
                labels[is_german], scores[is_german], sample_weight=weights[is_german]
            ),
        }
    _check(output, expected)


def test_classes_in_another_order(tmp_path):
    """Scores and labels go by the names of the classes, wherever a version has them."""
    random = np.random.default_rng(0)
    names, labels = np.array(["cat", "dog", "eel", "fox"]), random.integers(0, 4, NUM_ROWS)
    logits = random.normal(size=(NUM_ROWS, 4)) + np.eye(4)[labels]
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for version, order in ((1, [0, 1, 2, 3]), (2, [3, 1, 0, 2])):
        flat = pa.array(scores[:, order].ravel())
        table = {
            "id": np.arange(NUM_ROWS),
            "pet": names[labels],
            "scores": pa.FixedSizeListArray.from_arrays(flat, 4),
            "classes": [list(names[order])] * NUM_ROWS,
        }
        save_version(tmp_path / "p", version, [table])
    output = tmp_path / "out"
    assert _evaluate(tmp_path / "p", output, label="pet") == 0
    decided = scores.argmax(axis=1)
    expected = {
        ("accuracy", ""): metrics.accuracy_score(labels, decided),
        ("macro_f1", ""): metrics.f1_score(labels, decided, average="macro"),
        ("log_loss", ""): metrics.log_loss(labels, scores),
        ("macro_auc", ""): metrics.roc_auc_score(labels, scores, multi_class="ovr"),
    }
    _check(output, {(*key, each, ALL): value for key, value in expected.items() for each in (1, 2)})


def test_quantities(rows, tmp_path):
    """Errors of numbers, in 64 and in 32 bits."""
    directory = _save(tmp_path / "p", rows, second="other", first="logit", amount=rows["logit"] + 1)
    output = tmp_path / "out"
    assert _evaluate(directory, output, "--task=regression", "--weight=w", label="amount") == 0
    truth, expected = rows["logit"] + 1, {}
    for version, name in ((1, "logit"), (2, "other")):
        values, given = rows[name].astype(np.float64), {"sample_weight": rows["w"]}
        squared = metrics.mean_squared_error(truth, values, **given)
        expected |= {
            ("mae", "", version, ALL): metrics.mean_absolute_error(truth, values, **given),
            ("rmse", "", version, ALL): squared**0.5,
            ("r2", "", version, ALL): metrics.r2_score(truth, values, **given),
        }
    _check(output, expected)


def test_rows_that_only_one_version_has(rows, tmp_path, capsys):
    """Rows that a candidate lacks, and such that only it has, are counted and shown."""

    def changed(scores):
        more = pa.table({"id": ["new-1", "new-2"], "probability": np.float32([0.5, 0.5])})
        return pa.concat_tables([scores.slice(0, NUM_ROWS - 5), more])

    output = tmp_path / "out"
    assert _evaluate(_save(tmp_path / "p", rows, of_second=changed), output) == 0
    counts = {key[0]: value for key, value in _metrics(output).items() if key[2] == 2}
    assert (counts["rows"], counts["valid_rows"]) == (NUM_ROWS, NUM_ROWS - 5)
    assert (counts["nan_scores"], counts["unmatched_rows"]) == (5, 2)
    said = capsys.readouterr().out
    assert "7 rows left out of all versions:" in said
    assert "5 prediction is NaN or missing" in said
    assert "2 saved for a version, but not for the baseline" in said
    assert _metrics(output)["unmatched_rows", "", 1, ALL] == 0


def test_slices_without_rows_are_named(rows, tmp_path, capsys):
    """A misspelt value must not go unseen; that no row is null is no surprise."""
    directory = _save(tmp_path / "p", rows)
    slices = ("--slice=country=DE|GERMANY", "--slice=w=[0.5,2]")
    assert _evaluate(directory, tmp_path / "out", *slices) == 0
    said = capsys.readouterr().out
    assert "  empty   no row is in country=GERMANY; w=[2, inf)\n" in said


def test_one_saved_version_is_measured_alone(rows, tmp_path):
    """A first version has nothing to be compared with, saved or not."""
    directory = _save(tmp_path / "p", rows) / "model_name=m" / "model_version=1"
    output = tmp_path / "out"
    assert _evaluate(directory, output) == 0
    expected = metrics.roc_auc_score(rows["y"], rows["probability"])
    _check(output, {("auc", "", 1, ALL): expected})


@pytest.mark.parametrize(
    ("label", "flags", "words"),
    [
        ("y", ["--prediction=logit"], "'logit' of version 1 is from .*if these are logits"),
        ("sign", [], "--label=sign: .*outside of 0 and 1.*there are -1, 1"),
        ("cents", [], "--label=cents: .*outside of 0 and 1"),
        ("huge", ["--task=regression"], "--label=huge: .*outside of -67,108,864 to 67,108,864"),
        ("country", [], "the negative one first, as classes: "),
    ],
)
def test_another_task(rows, tmp_path, capsys, label, flags, words):
    """Scores and labels that are of another task are one message before anything is measured."""
    columns = {
        "sign": 2 * rows["y"] - 1,
        "cents": 100 * rows["y"] + 7,
        "huge": np.full(NUM_ROWS, 1e9),
        "logit": rows["logit"],
    }

    def with_logits(scores):
        return scores.append_column("logit", scores["probability"])

    directory = _save(tmp_path / "p", rows, of_second=with_logits, **columns)
    output = tmp_path / "out"
    task = [] if any("task" in each for each in flags) else ["--task=binary"]
    given = ["--prediction=probability"] if not flags or "task" in flags[0] else []
    assert _evaluate(directory, output, *flags, *task, *given, label=label) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(words, error)
    assert not output.exists() or not list(output.iterdir())


def test_named_labels_of_a_binary_task(rows, tmp_path, capsys):
    """Labels may be names, the negative one first; without quotes YAML has booleans."""
    directory = _save(tmp_path / "p", rows, happened=np.where(rows["y"], "yes", "no"))
    config, output = tmp_path / "eval.yaml", tmp_path / "out"
    flags = (f"--eval_config={config}", "--prediction=probability")
    config.write_text("classes: [no, yes]")
    assert _evaluate(directory, output, *flags, label="happened") == 2
    assert "need quotes in YAML" in capsys.readouterr().err
    config.write_text("classes: ['no', 'yes']")
    assert _evaluate(directory, output, *flags, label="happened") == 0
    _check(output, {("auc", "", 2, ALL): metrics.roc_auc_score(rows["y"], rows["other"])})


def test_rows_with_too_few_scores(tmp_path, capsys):
    """Where rows have different numbers of scores, the configuration tells which is right."""
    random = np.random.default_rng(0)
    scores = random.dirichlet(np.ones(3), 200).tolist()
    scores[150] = scores[150][:2]
    for version in (1, 2):
        labels = random.integers(0, 3, 200)
        table = {"id": np.arange(200), "y": labels, "probabilities": scores}
        save_version(tmp_path / "p", version, [table])
    assert _evaluate(tmp_path / "p", tmp_path / "out") == 2
    assert "does not tell how many classes there are" in capsys.readouterr().err
    config = tmp_path / "eval.yaml"
    config.write_text("classes: [cat, dog, eel]")
    assert _evaluate(tmp_path / "p", tmp_path / "out", f"--eval_config={config}") == 2
    assert "has a row of 2 scores, where 3 are expected" in capsys.readouterr().err


def test_single_labels_of_another_task_are_counted(rows, tmp_path):
    """A few labels outside of the domain are no reason to stop."""
    labels = rows["y"].copy()
    labels[:10] = 7
    directory = _save(tmp_path / "p", rows, noisy=labels)
    output = tmp_path / "out"
    assert _evaluate(directory, output, "--prediction=probability", label="noisy") == 0
    assert _metrics(output)["bad_labels", "", 1, ALL] == 10


def test_rows_none_of_which_can_be_evaluated(rows, tmp_path, capsys):
    """An evaluation of nothing is an error, and leaves nothing that a gate could judge."""
    directory = _save(tmp_path / "p", rows, minus=np.full(NUM_ROWS, -1.0))
    output = tmp_path / "out"
    flags = ("--weight=minus", "--prediction=probability")
    assert _evaluate(directory, output, *flags) == 1
    error = capsys.readouterr().err
    assert "none of the 2,000 rows could be evaluated (bad_weights 2,000)" in error
    assert not (output / "states").exists()
    assert _evaluate(directory, output, "--prediction=probability") == 0


def test_a_version_without_any_prediction_is_named(rows, tmp_path, capsys):
    """Whose rows are at fault is half of what there is to know."""
    missing = {**rows, "other": np.full(NUM_ROWS, np.nan, dtype=np.float32)}
    output = tmp_path / "out"
    assert _evaluate(_save(tmp_path / "p", missing), output) == 1
    assert "could be evaluated (nan_scores 2,000 of version 2): check" in capsys.readouterr().err


def test_other_outputs_are_named(rows, tmp_path, capsys):
    """A candidate with outputs of other names is refused with the names that it has."""

    def renamed(scores):
        return scores.rename_columns(["id", "score"])

    directory = _save(tmp_path / "p", rows, of_second=renamed)
    assert _evaluate(directory, tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert "version 2 has no output 'probability'" in error
    assert "there are: score" in error

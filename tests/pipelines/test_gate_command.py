"""`gate` decides again from states: without models, without data, in no time."""

import argparse
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipelines.cli import main
from pipelines.gate import add_gate_flags, run
from servable_core.errors import DataLossError, InvalidArgumentError, NotFoundError
from tests.transforms.metrics.evaluated import batch_of, two_models
from transforms.evaluation.evaluation_setup import EvaluationSetup
from transforms.evaluation.slice_catalog import build_catalog
from transforms.evaluation.slices import parse_slice
from transforms.evaluation.state_files import SavedEvaluation, write_states
from transforms.evaluation.verdict_files import read_verdict
from transforms.metrics import Evaluation, Task, create_evaluation

_ROOT = Path(__file__).resolve().parents[2]
_ROWS = 4000
_WORSE_IN = "FR"


@pytest.fixture(scope="module", name="states")
def _states(tmp_path_factory):
    """An evaluation of versions 7 and 9; 9 is better, but not in one country, and NL is small."""
    rng = np.random.default_rng(5)
    labels, scores = two_models(rng, _ROWS)
    country = rng.choice(["DE", _WORSE_IN, "NL"], _ROWS, p=[0.917, 0.08, 0.003])
    scores[1, country == _WORSE_IN] = rng.random((country == _WORSE_IN).sum())
    columns = pa.RecordBatch.from_pydict({"country": country.tolist()})
    catalog = build_catalog([parse_slice("country=DE|FR|NL")])
    setup = EvaluationSetup(model_name="ranker", versions=(7, 9), task=Task.BINARY)
    batch = batch_of(scores, labels, slices=catalog.slice_ids(columns)[:, 1:])
    facts = {"data_fingerprint": "d0", "models": {"7": "m7", "9": "m9"}, "command_line": ""}
    states = create_evaluation(setup.options()).update(batch)
    saved = SavedEvaluation(setup=setup, catalog=catalog, states=states, facts=facts)
    directory = tmp_path_factory.mktemp("evaluated")
    write_states(saved, str(directory))
    return directory


@pytest.fixture(name="config")
def _config(tmp_path):
    """Writes a config file with these rules; returns its path."""

    def write(*rules, **section):
        path = tmp_path / "eval.yaml"
        path.write_text(json.dumps({"label": "y", "gate": {"rules": list(rules), **section}}))
        return str(path)

    return write


_BETTER = {"metric": "auc", "test": "superior"}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (_BETTER, "PASS"),
        ({**_BETTER, "slices": {"columns": ["country"]}}, "FAIL"),
        ({**_BETTER, "slices": {"country": "NL"}}, "INCONCLUSIVE"),
    ],
)
def test_the_same_states_by_other_rules(states, config, tmp_path, rule, expected):
    outcome = run(str(states), config(rule), str(tmp_path / "out"))
    verdict = read_verdict(str(tmp_path / "out/verdict.json"))
    assert verdict == outcome.verdict
    assert verdict.status.value == expected
    assert outcome.exit_code == {"PASS": 0, "FAIL": 3, "INCONCLUSIVE": 4}[expected]
    marker = "BLESSED" if expected == "PASS" else "NOT_BLESSED"
    assert (tmp_path / "out" / marker).exists()


def test_it_says_why_and_what_it_is_about(states, config, tmp_path):
    rule = {**_BETTER, "slices": {"columns": ["country"]}}
    verdict = run(str(states), config(rule), str(tmp_path)).verdict
    (reason,) = verdict.candidates[0].reasons
    assert "country=FR is" in reason
    assert "worse" in reason
    assert verdict.inputs.models == {7: "m7", 9: "m9"}
    assert verdict.inputs.data_fingerprint == "d0"
    assert len(verdict.inputs.config_sha256) == 64


def test_it_writes_beside_the_states(states, config, tmp_path):
    """Whether their directory is named, or the one that they are in."""
    copy = tmp_path / "copy"
    shutil.copytree(states, copy)
    for place in (copy, copy / "states"):
        run(str(place), config(_BETTER))
        assert (copy / "verdict.json").exists()
        (copy / "verdict.json").unlink()


def test_metrics_that_were_written_of_the_states_are_not_worked_out_again(
    states, config, tmp_path, monkeypatch
):
    copy = tmp_path / "copy"
    shutil.copytree(states, copy)
    path = config({**_BETTER, "slices": {"columns": ["country"]}})
    first = run(str(copy), path)
    monkeypatch.setattr(Evaluation, "finalise_slices", lambda *_: pytest.fail("worked out again"))
    again = run(str(copy), path, str(tmp_path / "elsewhere"))
    assert again.verdict == first.verdict
    for name in ("metrics.parquet", "metrics.json"):
        assert (tmp_path / "elsewhere" / name).read_bytes() == (copy / name).read_bytes()


def test_metrics_of_another_release_are_worked_out_again(states, config, tmp_path, monkeypatch):
    """Its formulas may have been others; a gate judges by those of this one."""
    copy = tmp_path / "copy"
    shutil.copytree(states, copy)
    for module in ("pipelines.evaluation_outcome", "transforms.evaluation.finalise"):
        monkeypatch.setattr(f"{module}.formula_digest", lambda _own: "those of last year")
    former = run(str(copy), config(_BETTER))
    metrics = copy / "metrics.parquet"
    content = metrics.read_bytes()
    monkeypatch.undo()
    finalised = []
    finalise = Evaluation.finalise_slices
    monkeypatch.setattr(
        Evaluation,
        "finalise_slices",
        lambda *given, **named: finalised.append(1) or finalise(*given, **named),
    )
    again = run(str(copy), config(_BETTER))
    assert finalised
    assert again.verdict == former.verdict
    assert metrics.read_bytes() != content


def test_states_of_another_release_are_refused(states, config, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(states, copy)
    document = copy / "states/evaluation.json"
    document.write_text(re.sub(r"eval\.states/\d+", "eval.states/1", document.read_text()))
    flags = ["gate", f"--states={copy}", f"--eval_config={config(_BETTER)}"]
    assert main([*flags, f"--output={tmp_path}/out"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "has states of schema eval.states/1, of another release" in error
    assert "evaluate again" in error
    assert not (tmp_path / "out").exists()


def test_the_schema_counts_what_states_say(states):
    """Whoever changes these fields counts the schema up, so that former states are refused as such."""
    document = json.loads((states / "states/evaluation.json").read_text())
    assert document["schema"] == "eval.states/2"
    assert " ".join(sorted(document["setup"])) == (
        "class_names confidence_level has_example_key is_clustered is_labelled is_weighted"
        " label_centre max_false_positive_rate max_top_rows metrics min_precision min_slice_rows"
        " model_name num_classes num_saved_rows quantiles task thresholds top_k versions"
    )


def test_states_that_are_cut_short_are_told(states, config, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(states, copy)
    (copy / "states/evaluation.json").write_text("{")
    with pytest.raises(DataLossError, match=r"damaged .*; evaluate again"):
        run(str(copy), config(_BETTER))


def test_metrics_of_other_states_are_worked_out_again(states, config, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(states, copy)
    first = run(str(copy), config(_BETTER))
    metrics = copy / "metrics.parquet"
    content = metrics.read_bytes()
    document = copy / "states/evaluation.json"
    document.write_text(document.read_text().replace('"min_slice_rows": 30', '"min_slice_rows": 1'))
    again = run(str(copy), config(_BETTER))
    assert len(again.results.metrics) > len(first.results.metrics)
    assert metrics.read_bytes() != content


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label: y", "has no section gate:"),
        ("gate: {rulez: []}", "eval.yaml: gate: unknown key 'rulez'"),
        ("gate: 3", "gate must be a mapping"),
        ("gate: [", "is no YAML: line 1"),
        ("gate: {rules: []}", "eval.yaml: gate: rules is empty"),
        ("gate: {}", "eval.yaml: gate: rules is empty"),
    ],
)
def test_bad_config_files(states, tmp_path, text, message):
    path = tmp_path / "eval.yaml"
    path.write_text(text)
    with pytest.raises(InvalidArgumentError, match=message):
        run(str(states), str(path), str(tmp_path))
    assert not (tmp_path / "verdict.json").exists()


def test_no_states(config, tmp_path):
    with pytest.raises(NotFoundError, match="holds no evaluation"):
        run(str(tmp_path), config(_BETTER))


def test_damaged_states(states, config, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(states, copy)
    next((copy / "states").glob("decisions*.parquet")).write_bytes(b"no")
    with pytest.raises(DataLossError, match="decisions"):
        run(str(copy), config(_BETTER))


def test_it_loads_neither_beam_nor_tensorflow(states, config, tmp_path):
    script = (
        "import sys; from pipelines.gate import run;"
        f"run({str(states)!r}, {config(_BETTER)!r}, {str(tmp_path)!r});"
        "print([each for each in ('tensorflow', 'apache_beam') if each in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stderr


def test_the_flags():
    parser = argparse.ArgumentParser()
    add_gate_flags(parser)
    flags = parser.parse_args(["--states=s", "--eval_config=c"])
    assert vars(flags) == {"states": "s", "eval_config": "c", "output": None}

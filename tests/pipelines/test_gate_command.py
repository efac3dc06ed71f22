"""`gate` decides again from states: without models, without data, in no time."""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

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
    monkeypatch.setattr(Evaluation, "finalise", lambda *_: pytest.fail("worked out again"))
    again = run(str(copy), path, str(tmp_path / "elsewhere"))
    assert again.verdict == first.verdict
    for name in ("metrics.parquet", "metrics.json"):
        assert (tmp_path / "elsewhere" / name).read_bytes() == (copy / name).read_bytes()


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

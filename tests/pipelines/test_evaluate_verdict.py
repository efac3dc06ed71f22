"""Evaluations with a gate: verdicts, exit codes, reports, and deciding again."""

import json

import pytest

from pipelines.cli import main
from tests.evaluation_jobs import evaluate, save_versions, write_data

PASSES = "{metric: auc, test: non_inferior, margin: {absolute: 0.5}}"
FAILS = "{metric: auc, value: {min: 0.999}}"
# Version 2 is worse by about as much.
UNCERTAIN = "{metric: auc, test: non_inferior, margin: {absolute: 0.01}}"
# Which quantile is not said.
AMBIGUOUS = "{metric: absolute_difference, value: {max: 1}}"


@pytest.fixture(scope="module", name="base_path")
def _base_path(tmp_path_factory):
    return save_versions(tmp_path_factory.mktemp("models") / "ctr", (1, 2))


@pytest.fixture(scope="module", name="data")
def _data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


def _gate(tmp_path, *rules):
    path = tmp_path / f"gate-{len(list(tmp_path.iterdir()))}.yaml"
    path.write_text("gate:\n  rules:\n" + "".join(f"  - {each}\n" for each in rules))
    return f"--eval_config={path}"


def _evaluate(base_path, data, output, *flags):
    return evaluate(base_path, data, output, "--baseline=1", "--candidate=2", *flags)


def test_a_candidate_passes(base_path, data, tmp_path, capsys):
    output = tmp_path / "out"
    assert _evaluate(base_path, data, output, _gate(tmp_path, PASSES)) == 0
    verdict = json.loads((output / "verdict.json").read_text())
    assert (verdict["verdict"], verdict["exit_code"]) == ("PASS", 0)
    assert (output / "BLESSED").exists()
    assert verdict["inputs"]["models"].keys() == {"1", "2"}
    printed = capsys.readouterr().out
    assert "PASS" in printed
    assert f"output  {output}" in printed


@pytest.mark.parametrize(
    ("rules", "verdict", "code"),
    [
        ([PASSES, FAILS], "FAIL", 3),
        ([PASSES, UNCERTAIN], "INCONCLUSIVE", 4),
        ([PASSES, AMBIGUOUS], "ERROR", 1),
    ],
)
def test_exit_codes_tell_the_verdict(base_path, data, tmp_path, rules, verdict, code):
    output = tmp_path / "out"
    assert _evaluate(base_path, data, output, _gate(tmp_path, *rules)) == code
    found = json.loads((output / "verdict.json").read_text())
    assert found["exit_code"] == code
    assert found["verdict"] == verdict
    assert (output / "NOT_BLESSED").exists()


def test_states_are_judged_again_without_models(base_path, data, tmp_path):
    output, again = tmp_path / "out", tmp_path / "again"
    assert _evaluate(base_path, data, output, "--limit=300", _gate(tmp_path, PASSES)) == 0
    gate = [_gate(tmp_path, FAILS), f"--states={output}"]
    assert main(["gate", *gate, f"--output={again}"]) == 3
    assert (output / "BLESSED").exists()
    assert (again / "NOT_BLESSED").exists()
    assert main(["gate", *gate]) == 3
    assert not (output / "BLESSED").exists()


def test_a_wrong_gate_is_told_before_inference(base_path, data, tmp_path, capsys):
    output = tmp_path / "out"
    assert _evaluate(base_path, data, output, _gate(tmp_path, "{metric: auc}")) == 2
    assert not output.exists()
    assert capsys.readouterr().err.count("\n") == 1


def test_reports_are_written(base_path, data, tmp_path, capsys):
    output = tmp_path / "out"
    flags = ["--slice=country", "--aa", "--example_key=id", _gate(tmp_path, PASSES)]
    assert _evaluate(base_path, data, output, *flags) == 0
    page, short = ((output / name).read_text() for name in ("report.html", "report.md"))
    assert "country=DE" in page
    assert "PASS" in short
    assert "A/A noise floor" in page
    assert f"report  {output}/report.html" in capsys.readouterr().out


def test_a_version_is_promoted_by_its_verdict(base_path, data, tmp_path, capsys):
    output, config = tmp_path / "out", tmp_path / "models.config"
    config.write_text(
        f"""# Served in two places.
model_config_list {{
  config {{
    name: "ctr" base_path: "{base_path}" model_platform: "tensorflow"
    model_version_policy {{ specific {{ versions: 1 versions: 2 }} }}
    version_labels {{ key: "stable" value: 1 }}
  }}
}}
"""
    )
    assert _evaluate(base_path, data, output, _gate(tmp_path, PASSES)) == 0
    flags = [f"--model_config_file={config}", "--version_label=stable"]
    assert main(["promote", *flags, f"--verdict={output}/verdict.json"]) == 0
    assert 'key: "stable" value: 2' in config.read_text()
    assert "# Served in two places." in config.read_text()
    assert main(["gate", f"--states={output}", _gate(tmp_path, FAILS)]) == 3
    assert main(["promote", *flags, f"--verdict={output}/verdict.json"]) == 2
    assert "FAIL" in capsys.readouterr().err

"""From an evaluation to a promotion, by the command line."""

import json
import shutil

import pytest

from pipelines.cli import main
from servable_core.config import read_server_config
from tests.evaluation_jobs import evaluate, save_versions, write_data

_PASSING = {"metric": "auc", "test": "non_inferior", "margin": 0.9}
_FAILING = {"metric": "auc", "value": {"min": 0.999}}
_UNKNOWN = {"metric": "gone", "value": {"max": 0}}
_AMBIGUOUS = {"metric": "absolute_difference", "value": {"max": 1}}  # which quantile is not said


def _gate_file(directory, *rules):
    path = directory / f"gate{len(list(directory.glob('gate*')))}.yaml"
    gate = {"rules": list(rules), "missing": {"metric": "inconclusive"}}
    path.write_text(json.dumps({"gate": gate}))
    return str(path)


@pytest.fixture(scope="module", name="evaluated")
def _evaluated(tmp_path_factory):
    """A server's config, and versions 1 and 2 of its model, evaluated by a gate that passes."""
    directory = tmp_path_factory.mktemp("shop")
    base_path = save_versions(directory / "ctr", (1, 2))
    config = directory / "models.config"
    config.write_text(
        """model_config_list { config {
  name: "ctr" base_path: "ctr" model_platform: "tensorflow"  # clicks
  model_version_policy { all {} }
  version_labels { key: "stable" value: 1 }
} }
"""
    )
    data = write_data(directory / "data")
    gate = _gate_file(directory, _PASSING)
    flags = ["--baseline=1", "--candidate=2", f"--eval_config={gate}"]
    assert evaluate(base_path, data, directory / "out", *flags) == 0
    return directory


def _promote(directory, *flags):
    return main(
        [
            "promote",
            f"--model_config_file={directory}/models.config",
            "--version_label=stable",
            f"--verdict={directory}/out/verdict.json",
            *flags,
        ]
    )


def _stable(directory):
    (model,) = read_server_config(str(directory / "models.config")).models
    return model.version_labels["stable"]


@pytest.fixture(name="shop")
def _shop(evaluated, tmp_path):
    """A copy of all that, but of the data and the models, for one test."""
    shutil.copy(evaluated / "models.config", tmp_path)
    shutil.copytree(evaluated / "out", tmp_path / "out")
    (tmp_path / "ctr").symlink_to(evaluated / "ctr")
    return tmp_path


def test_what_passed_is_promoted(shop, capsys):
    """The fingerprint in the verdict is that of the version."""
    assert (shop / "out/BLESSED").exists()
    assert _promote(shop) == 0
    said = capsys.readouterr().out
    assert "version 1 -> version 2" in said
    assert "saved predictions" not in said
    assert _stable(shop) == 2


@pytest.mark.parametrize(
    ("rules", "code", "status"),
    [
        ([_FAILING, _PASSING], 3, "FAIL"),
        ([_UNKNOWN], 4, "INCONCLUSIVE"),
        ([_AMBIGUOUS], 1, "ERROR"),
    ],
)
def test_another_gate_says_otherwise(shop, capsys, rules, code, status):
    """In seconds; what does not pass is not promoted, unless by force."""
    gate = _gate_file(shop, *rules)
    out = f"{shop}/out"
    assert main(["gate", f"--states={out}", f"--eval_config={gate}"]) == code
    assert status in capsys.readouterr().out
    assert (shop / "out/NOT_BLESSED").exists()
    assert _promote(shop) == 2
    assert f"verdict {status}" in capsys.readouterr().err
    assert _stable(shop) == 1
    assert _promote(shop, "--force") == 0
    assert _stable(shop) == 2


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["gate", "--states=x"], "--eval_config"),
        (["gate", "--eval_config=x"], "--states"),
        (["gate", "--states=x", "--eval_config=x", "--rule=x"], "unknown flag --rule"),
        (["promote", "--version_label=x", "--verdict=x"], "--model_config_file"),
        (["promote", "--model_config_file=x", "--version_label=x", "--verdict=x"], "no verdict"),
    ],
)
def test_wrong_flags_are_one_message(capsys, command, message):
    assert main(command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line

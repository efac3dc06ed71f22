"""`promote` on config files as people write them: one label moves, or nothing does."""

import argparse
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from pipelines.promote import PromoteOptions, add_promote_flags, run
from servable_core.config import read_server_config
from servable_core.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    ServableCoreError,
)
from servable_core.runtime.file_system import LocalFileSystem
from servable_core.servables.saved_model.fingerprint import fingerprint_version
from transforms.evaluation.verdict import (
    CandidateVerdict,
    RuleOutcome,
    Status,
    Verdict,
    VerdictInputs,
)
from transforms.evaluation.verdict_files import write_verdict

_CONFIG = """\
# Models of the shop
model_config_list {
  config {
    name: "filter"  # first
    base_path: "filter"
    model_platform: "tensorflow"
    version_labels { key: "stable" value: 7 }
  }
  config {
    name: "ranker"
    base_path: "ranker"
    model_platform: "tensorflow"
    model_version_policy { specific { versions: 7 versions: 9 } }  # both
    version_labels { key: "stable" value: 7 }  # since March
  }
}
"""


@pytest.fixture(name="config")
def _config(tmp_path):
    """A config file beside the models that it lists: `filter` with 7, `ranker` with 7 to 10."""
    for model, versions in (("filter", (7,)), ("ranker", (7, 8, 9, 10))):
        for version in versions:
            directory = tmp_path / model / str(version)
            directory.mkdir(parents=True)
            (directory / "saved_model.pb").write_text(f"{model} {version}")
    path = tmp_path / "models.config"
    path.write_text(_CONFIG)
    return path


def _fingerprint(config, version, model="ranker"):
    path = str(config.parent / model / str(version))
    return fingerprint_version(path, LocalFileSystem().list_files(path), LocalFileSystem())


def _candidate(version, status=Status.PASS):
    outcome = RuleOutcome(
        rule_id="r", metric="auc", test="value", status=status, reason=f"auc is {status.value}."
    )
    return CandidateVerdict(version=version, outcomes=(outcome,))


def _judged(config, *candidates, baseline=7, **fields):
    models = {each.version: _fingerprint(config, each.version) for each in candidates}
    fields = {"model_name": "ranker", "inputs": VerdictInputs(models=models), **fields}
    return Verdict(baseline=baseline, candidates=candidates, **fields)


@pytest.fixture(name="promote")
def _promote(config, tmp_path):
    """Promotes by a verdict, of a PASS for version 9 unless another is given."""

    def promote(verdict=None, label="stable", **options):
        write_verdict(verdict or _judged(config, _candidate(9)), str(tmp_path / "out"))
        return run(
            PromoteOptions(
                model_config_file=str(config),
                version_label=label,
                verdict=str(tmp_path / "out/verdict.json"),
                **options,
            )
        )

    return promote


def _labels(config, model="ranker"):
    models = read_server_config(str(config)).models
    return {each.name: dict(each.version_labels) for each in models}[model]


def _files(config):
    return {each.name for each in config.parent.iterdir() if each.is_file()}


def test_one_label_moves_and_the_former_file_is_kept(config, promote):
    lines = promote()
    expected = _CONFIG.replace("value: 7 }  # since March", "value: 9 }  # since March")
    assert config.read_text() == expected
    assert (config.parent / "models.config.bak").read_text() == _CONFIG
    assert _files(config) == {"models.config", "models.config.bak"}
    assert lines[0] == f"label 'stable' of model 'ranker' in {config}: version 7 -> version 9"
    assert any("PASS against version 7" in line for line in lines)
    assert lines[-1] == f"  backup: {config}.bak"


def test_again_changes_nothing(config, promote):
    promote()
    written = config.stat().st_mtime_ns
    lines = promote()
    assert "already" in lines[0]
    assert config.stat().st_mtime_ns == written
    assert _files(config) == {"models.config", "models.config.bak"}


def test_a_new_label_is_added(config, promote):
    lines = promote(label="beta")
    assert _labels(config) == {"stable": 7, "beta": 9}
    assert "new -> version 9" in lines[0]


def test_backups_are_never_overwritten(config, promote):
    """Back and forth: each former file has a name of its own."""
    promote()
    promote(_judged(config, _candidate(7), baseline=9))
    promote()
    backups = [config.parent / f"models.config.bak{end}" for end in ("", ".2", ".3")]
    assert [_labels(each)["stable"] for each in backups] == [7, 9, 7]


@pytest.mark.parametrize("status", [Status.FAIL, Status.INCONCLUSIVE, Status.ERROR])
def test_without_a_pass_only_by_force(config, promote, status):
    verdict = _judged(config, _candidate(9, status))
    with pytest.raises(FailedPreconditionError, match=f"auc is {status.value}; .*--force"):
        promote(verdict)
    assert config.read_text() == _CONFIG
    assert _files(config) == {"models.config"}
    lines = promote(verdict, force=True)
    assert _labels(config)["stable"] == 9
    assert any(
        line.startswith(f"  warning: version 9 has the verdict {status.value}") for line in lines
    )


class TestSeveralCandidates:
    @pytest.fixture
    def verdict(self, config):
        return _judged(config, _candidate(8, Status.FAIL), _candidate(9))

    def test_one_must_be_chosen(self, promote, verdict):
        with pytest.raises(
            InvalidArgumentError, match=r"version 8 \(FAIL\), version 9 \(PASS\); choose with"
        ):
            promote(verdict)

    def test_the_chosen_one_is_promoted_although_another_failed(self, config, promote, verdict):
        promote(verdict, candidate=9)
        assert _labels(config)["stable"] == 9

    def test_a_failed_one_is_not(self, promote, verdict):
        with pytest.raises(FailedPreconditionError, match="verdict FAIL"):
            promote(verdict, candidate=8)

    def test_nor_one_that_was_not_judged(self, promote, verdict):
        with pytest.raises(NotFoundError, match="--candidate=7"):
            promote(verdict, candidate=7)


def test_the_model_must_be_listed(config, promote):
    with pytest.raises(NotFoundError, match=r"'other', which .* does not list; its models: filter"):
        promote(_judged(config, _candidate(9), model_name="other"))


def test_the_version_must_be_there(config, promote):
    verdict = replace(_judged(config), candidates=(_candidate(11),))
    with pytest.raises(NotFoundError, match="has no version 11; it has 7, 8, 9, 10"):
        promote(verdict)


@pytest.mark.parametrize("force", [False, True])
def test_the_version_must_be_the_one_that_was_judged(config, promote, force):
    """Not even force promotes what nobody has looked at."""
    verdict = _judged(config, _candidate(9))
    (config.parent / "ranker/9/saved_model.pb").write_text("trained again")
    with pytest.raises(FailedPreconditionError, match="is not what was judged"):
        promote(verdict, force=force)
    assert config.read_text() == _CONFIG


def test_a_verdict_about_saved_predictions_says_so(config, promote):
    lines = promote(_judged(config, _candidate(9), inputs=VerdictInputs()))
    assert any("saved predictions" in line for line in lines)
    assert _labels(config)["stable"] == 9


def test_the_version_must_be_served(config, promote):
    """Or the server would refuse its whole config."""
    verdict = _judged(config, _candidate(10))
    with pytest.raises(FailedPreconditionError, match="does not serve version 10"):
        promote(verdict)
    assert any("does not serve" in line for line in promote(verdict, force=True))
    assert _labels(config)["stable"] == 10


def test_a_label_given_to_a_third_version_is_told(config, promote):
    lines = promote(_judged(config, _candidate(9), baseline=8))
    assert any("was at version 7, with which version 9 was not compared" in line for line in lines)


def test_the_first_version_has_no_baseline(config, promote):
    lines = promote(_judged(config, _candidate(9), baseline=None))
    assert any("PASS against no baseline" in line for line in lines)


def test_a_link_stays_a_link_and_permissions_stay(config, promote):
    target = config.rename(config.parent / "real.config")
    config.symlink_to(target.name)
    target.chmod(0o640)
    promote()
    assert config.is_symlink()
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert _labels(target)["stable"] == 9


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("", InvalidArgumentError, "is not JSON"),
        ("{}", InvalidArgumentError, "schema None"),
        (None, NotFoundError, "no verdict at"),
    ],
)
def test_bad_verdict_files(config, content, error, message):
    path = config.parent / "verdict.json"
    if content is not None:
        path.write_text(content)
    options = PromoteOptions(
        model_config_file=str(config), version_label="stable", verdict=str(path)
    )
    with pytest.raises(error, match=message):
        run(options)


def test_a_directory_is_no_config_file(config, promote):
    config.unlink()
    config.mkdir()
    with pytest.raises(InvalidArgumentError, match="is a directory; expected a model config file"):
        promote()


def test_a_directory_is_no_verdict(config):
    options = PromoteOptions(
        model_config_file=str(config), version_label="stable", verdict=str(config.parent)
    )
    with pytest.raises(
        InvalidArgumentError, match=r"is a directory; give the file, as .*verdict\.json"
    ):
        run(options)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"model_config_list {", r"models\.config:"),
        (b"\xff", "in UTF-8"),
        (b"", "its models: none"),
        (None, "no model config file"),
    ],
)
def test_bad_config_files(config, promote, content, message):
    config.unlink()
    if content is not None:
        config.write_bytes(content)
    with pytest.raises(ServableCoreError, match=message):
        promote()


@pytest.mark.parametrize("label", ["", "a/b", "a:b"])
def test_labels_that_no_request_can_name(promote, label):
    with pytest.raises(InvalidArgumentError, match="--version_label"):
        promote(label=label)


def test_of_many_at_once_none_is_lost(tmp_path):
    """Each moves the label of its own model, all in one file; every former file is kept."""
    names = [f"model{number}" for number in range(12)]
    for name in names:
        for version in (1, 2):
            directory = tmp_path / name / str(version)
            directory.mkdir(parents=True)
            (directory / "saved_model.pb").write_text(name)
        verdict = Verdict(model_name=name, baseline=1, candidates=(_candidate(2),))
        write_verdict(verdict, str(tmp_path / name))
    config = tmp_path / "models.config"
    config.write_text(
        "model_config_list {\n"
        + "".join(
            f'  config {{ name: "{name}" base_path: "{name}" model_platform: "tensorflow" version_labels {{ key: "stable" value: 1 }} }}\n'
            for name in names
        )
        + "}\n"
    )

    def promote(name):
        verdict = str(tmp_path / name / "verdict.json")
        run(PromoteOptions(model_config_file=str(config), version_label="stable", verdict=verdict))

    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(promote, names))
    assert [_labels(config, name) for name in names] == [{"stable": 2}] * len(names)
    assert len(list(tmp_path.glob("models.config.bak*"))) == len(names)


def test_a_directory_that_cannot_be_written_is_told(config, promote, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied", str(config))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="Permission denied"):
        promote()
    assert config.read_text() == _CONFIG
    assert _files(config) == {"models.config", "models.config.bak"}


def test_the_flags():
    parser = argparse.ArgumentParser()
    add_promote_flags(parser)
    flags = ["--model_config_file=f", "--version_label=stable", "--verdict=v"]
    plain = PromoteOptions(**vars(parser.parse_args(flags)))
    assert (plain.candidate, plain.force) == (None, False)
    given = PromoteOptions(**vars(parser.parse_args([*flags, "--candidate=9", "--force"])))
    assert (given.candidate, given.force) == (9, True)

"""`inspect` and `precompute` see the models of a config file as a server would."""

import pytest

from pipelines import inspect_config
from pipelines.cli import main
from pipelines.model_survey import ModelSurvey, VersionStructure
from servable_core.lifecycle import ManagerState
from servable_core.server_core import ModelStatus, VersionStatus
from tests.models import save_linear

_DATA = "variables/variables.data-00000-of-00001"
_SIGNATURE = [
    "    signature serving_default",
    "      input   features: float32 [None, 4]",
    "      output  score: float32 [None, 1]",
]


@pytest.fixture(name="models")
def _models(tmp_path):
    """Versions 1 and 2 of `ranker`."""
    for version in (1, 2):
        save_linear(tmp_path / "ranker", version)
    return tmp_path


def _write_config(directory, *more):
    """Writes a config file with the model `ranker`; returns its flag."""
    lines = ['name: "ranker" base_path: "ranker" model_platform: "tensorflow"', *more]
    path = directory / "models.config"
    path.write_text("model_config_list { config { " + " ".join(lines) + " } }")
    return f"--model_config_file={path}"


def _policy(*versions):
    return (
        f"model_version_policy {{ specific {{ {' '.join(f'versions: {v}' for v in versions)} }} }}"
    )


def _label(name, version):
    return f'version_labels {{ key: "{name}" value: {version} }}'


def _inspect(capfd, *flags):
    """Runs the command, checks that it went well; returns the lines about the model."""
    code = main(["inspect", *flags])
    captured = capfd.readouterr()
    assert (code, captured.err) == (0, "")
    return captured.out.splitlines()[2:]


class TestInspect:
    def test_one_of_the_versions_asked_for_is_missing(self, models, capfd):
        """The others are served all the same; what is wrong with the model is told."""
        lines = _inspect(capfd, _write_config(models, _policy(1, 9)))
        assert lines[0] == "model ranker: tensorflow, versions 1, 9"
        assert lines[1].startswith("  wrong: ")
        assert lines[1].endswith("version 9 not found; versions present: 1, 2")
        assert lines[2:] == [f"  {models}/ranker: versions 1, 2", "  version 1", *_SIGNATURE]

    def test_the_latest_version_is_the_latest_whole_one(self, models, capfd):
        """A version that is half-copied is told of, and the one before it is served."""
        (models / "ranker/2" / _DATA).unlink()
        assert _inspect(capfd, _write_config(models)) == [
            "model ranker: tensorflow, latest version",
            f"  {models}/ranker: versions 1, 2",
            "  version 1",
            *_SIGNATURE,
            "  version 2",
            f"    not complete: it has no {_DATA}",
        ]

    def test_a_broken_version_beside_a_whole_one(self, models, capfd):
        """It is told why, and a label of it would be refused."""
        (models / "ranker/2/saved_model.pb").write_bytes(b"\xff\xff\xff")
        config = _write_config(models, _policy(1, 2), _label("stable", 1), _label("canary", 2))
        lines = _inspect(capfd, config)
        assert "  label stable: version 1" in lines
        assert lines[2].startswith(
            "  label canary: version 2 (wrong: label 'canary' cannot be given"
        )
        assert lines[4:8] == ["  version 1", *_SIGNATURE]
        assert lines[8] == "  version 2"
        assert lines[9].startswith(f"    broken: {models}/ranker/2/saved_model.pb is corrupt")

    def test_a_label_of_a_version_that_does_not_exist(self, models, capfd):
        """It is told with the label, and is no version of the report."""
        lines = _inspect(capfd, _write_config(models, _label("stable", 7)))
        assert lines[2].startswith("  label stable: version 7 (wrong: label 'stable' cannot be")
        assert "  version 7" not in lines

    def test_nothing_is_loaded(self, models, capfd):
        """A version whose variables no load would accept is shown all the same."""
        data = models / "ranker/2" / _DATA
        data.write_bytes(b"\xff" * data.stat().st_size)
        lines = _inspect(capfd, _write_config(models))
        assert lines[2:] == ["  version 2", *_SIGNATURE]

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            (lambda version: (version / "saved_model.pb").unlink(), "is not complete yet"),
            (lambda version: (version / "saved_model.pb").write_bytes(b"\xff"), "is corrupt"),
        ],
    )
    def test_no_version_can_be_served(self, damage, message, models, capfd):
        """That is an error, which says why."""
        for version in (1, 2):
            damage(models / "ranker" / str(version))
        assert main(["inspect", _write_config(models)]) == 2
        error = capfd.readouterr().err
        assert error.startswith("error: model 'ranker': ")
        assert message in error
        assert error.count("\n") == 1

    def test_unknown_signature(self, models, capfd):
        """It is wrong with the model, by name."""
        assert main(["inspect", _write_config(models), "--signature_name=other"]) == 2
        assert "has no signature 'other'" in capfd.readouterr().err


class TestStoreThatHangs:
    """What is told of a model when the time for reading it is over."""

    def _report(self, monkeypatch, models, capfd, *versions):
        """Returns what is said of `ranker`, of which that much is known, beside a whole model."""
        words = VersionStructure(path="/words/1", num_files=1, signatures=None)
        whole = VersionStatus(version=1, state=ManagerState.AVAILABLE)
        surveys = [
            ModelSurvey(
                status=ModelStatus(name="ranker", base_path="/m", platform="", versions=versions),
                structures={},
                label_errors={},
            ),
            ModelSurvey(
                status=ModelStatus(name="b", base_path="/b", platform="", versions=(whole,)),
                structures={1: words},
                label_errors={},
            ),
        ]
        monkeypatch.setattr(inspect_config, "survey_models", lambda _config: surveys)
        other = '} config { name: "b" base_path: "b" model_platform: "lookup_table"'
        return _inspect(capfd, _write_config(models, other))

    def test_its_base_path_was_not_listed(self, monkeypatch, models, capfd):
        """Nothing is known of its versions."""
        lines = self._report(monkeypatch, models, capfd)
        assert lines[1] == "  wrong: /m was not read in 300 seconds: its store does not answer"
        assert "    complete, 1 files" in lines

    def test_one_of_its_versions_was_not_read(self, monkeypatch, models, capfd):
        """It is known to be there."""
        version = VersionStatus(version=3, state=ManagerState.LOADING)
        lines = self._report(monkeypatch, models, capfd, version)
        assert lines[1] == "  wrong: /m was not read in 300 seconds: its store does not answer"
        assert lines[2:4] == [
            "  version 3",
            "    not read in 300 seconds: its store does not answer",
        ]


class TestPrecompute:
    def test_a_label_of_a_version_that_is_not_served(self, models, capfd):
        """A server would refuse the configuration; so does a job."""
        config = _write_config(models, _policy(2), _label("stable", 1))
        flags = [config, "--version_label=stable", "--input=in", f"--output={models}/out"]
        assert main(["precompute", *flags]) == 2
        error = capfd.readouterr().err
        assert f"--version_label=stable, {config}: label 'stable' cannot be given" in error
        assert "version 1 of model 'ranker'" in error
        assert not (models / "out").exists()

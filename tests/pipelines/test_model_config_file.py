"""Several models from one `models.config`: served, inspected and precomputed, one of them missing."""

import numpy as np
import pyarrow as pa
import pytest

from pipelines.cli import main
from servable_core.config import read_server_config
from servable_core.errors import NotFoundError
from servable_core.servables.saved_model.bundle import SavedModelBundle
from servable_core.server_core import ModelSpec, ServerCore, ServerCoreOptions
from tests.datasets import write_parquet
from tests.jobs import read_output, values
from tests.models import call_model, save_linear

NUM_ROWS = 50
RANKER = """
  config {
    name: "ranker" base_path: "ranker" model_platform: "tensorflow"
    model_version_policy { specific { versions: 1 versions: 2 } }
    version_labels { key: "stable" value: 1 }
    version_labels { key: "canary" value: 2 }
  }"""
FILTER = """
  config {
    name: "filter" base_path: "filter" model_platform: "tensorflow"
    version_labels { key: "stable" value: 4 }
  }"""
GONE = ' config { name: "gone" base_path: "gone" model_platform: "tensorflow" }'
WORDS = ' config { name: "words" base_path: "words" model_platform: "lookup_table" }'


@pytest.fixture(scope="module", name="models")
def _models(tmp_path_factory):
    """`ranker` with versions 1, 2 and 3, and `filter` with 3 and 4."""
    directory = tmp_path_factory.mktemp("models")
    for version in (1, 2, 3):
        save_linear(directory / "ranker", version)
    for version in (3, 4):
        save_linear(directory / "filter", version)
    (directory / "words/1").mkdir(parents=True)
    (directory / "words/1/words.csv").write_text("key,id\na,1\n")
    return directory


@pytest.fixture(name="config_file")
def _config_file(models):
    """Writes a config file beside the models; returns its path."""

    def write(*configs):
        path = models / "models.config"
        path.write_text("model_config_list {" + "".join(configs) + "}")
        return path

    return write


@pytest.fixture(name="precompute")
def _precompute(tmp_path):
    """Runs the command over fifty rows; returns its exit code."""
    matrix = np.random.default_rng(1).normal(size=(NUM_ROWS, 4)).astype(np.float32)
    features = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), 4)
    table = pa.table({"id": np.arange(NUM_ROWS), "features": features})
    write_parquet(table, tmp_path / "in", [NUM_ROWS], 20)

    def run(*flags):
        given = [f"--input={tmp_path}/in", f"--output={tmp_path}/out", "--key=id"]
        return main(["precompute", *given, *flags])

    run.matrix = matrix
    return run


def _versions(output):
    """Returns which versions of which models an output has rows of, all of them."""
    found = output.group_by(["model_name", "model_version"]).aggregate([("id", "count")])
    assert set(found["id_count"].to_pylist()) == {NUM_ROWS}
    return sorted(
        zip(*(found[c].to_pylist() for c in ("model_name", "model_version")), strict=True)
    )


def test_the_other_model_serves_and_status_says_what_is_wrong(models, config_file):
    """By version, by label and by the latest; the missing one names its base path."""
    config = read_server_config(str(config_file(RANKER, GONE)))
    options = ServerCoreOptions(requires_all_models=False, settle_secs=0)
    features = np.ones((2, 4), np.float32)

    with ServerCore(config, options=options) as core:
        for spec, version in (
            (ModelSpec("ranker"), 2),
            (ModelSpec("ranker", version=1), 1),
            (ModelSpec("ranker", version_label="stable"), 1),
        ):
            with core.get_servable_handle(spec, SavedModelBundle) as handle:
                scores = handle.servable.predict(
                    "serving_default", {"features": features}, ["score"]
                )
            expected = call_model(f"{models}/ranker/{version}", features=features)
            np.testing.assert_allclose(scores["score"], expected["score"], rtol=1e-6)
        with pytest.raises(NotFoundError):
            core.get_servable_handle(ModelSpec("gone"), SavedModelBundle)
        ranker, gone = core.statuses()

    assert [each.labels for each in ranker.versions] == [("canary",), ("stable",)]
    assert f"base path {models}/gone of servable 'gone' does not exist" in str(gone.error)


class TestInspect:
    def test_every_model_is_shown(self, models, config_file, capfd):
        """Its versions, labels and signatures, and of a missing one what is wrong."""
        assert main(["inspect", f"--model_config_file={config_file(RANKER, GONE, WORDS)}"]) == 0
        captured = capfd.readouterr()
        assert captured.err == ""
        assert captured.out.splitlines() == [
            f"{models}/models.config: 3 models",
            "",
            "model ranker: tensorflow, versions 1, 2",
            f"  {models}/ranker: versions 1, 2, 3",
            "  label canary: version 2",
            "  label stable: version 1",
            *(
                line
                for version in (1, 2)
                for line in (
                    f"  version {version}",
                    "    signature serving_default",
                    "      input   features: float32 [None, 4]",
                    "      output  score: float32 [None, 1]",
                )
            ),
            "",
            "model gone: tensorflow, latest version",
            f"  wrong: base path {models}/gone of servable 'gone' does not exist, or holds no files; expected directories like {models}/gone/1 in it",
            "",
            "model words: lookup_table, latest version",
            f"  {models}/words: versions 1",
            "  version 1",
            "    complete, 1 files",
        ]

    def test_a_label_of_a_version_that_is_not_served_is_told(self, config_file, capfd):
        """The server would refuse it."""
        config = RANKER.replace("value: 2", "value: 3")
        assert main(["inspect", f"--model_config_file={config_file(config)}"]) == 0
        assert "label canary: version 3 (wrong: " in capfd.readouterr().out

    def test_no_usable_model_is_an_error(self, config_file, capfd):
        """There is nothing to show then but what is wrong."""
        assert main(["inspect", f"--model_config_file={config_file(GONE)}"]) == 2
        assert capfd.readouterr().err.startswith("error: model 'gone': base path ")

    @pytest.mark.parametrize("flag", ["--model_base_path=m", "--model_version=all"])
    def test_conflicting_flags(self, flag, config_file, capfd):
        """The file says where the models are, and which versions."""
        assert main(["inspect", f"--model_config_file={config_file(RANKER)}", flag]) == 2
        assert "does not go with --model_config_file" in capfd.readouterr().err


class TestPrecompute:
    def test_all_models_each_by_its_version_policy(self, models, config_file, precompute, tmp_path):
        """One read of the input gives the outputs of each version of each model."""
        assert precompute(f"--model_config_file={config_file(RANKER, FILTER)}") == 0
        output = read_output(tmp_path / "out")
        assert _versions(output) == [("filter", 4), ("ranker", 1), ("ranker", 2)]
        for name, version in _versions(output):
            is_of_version = pa.compute.and_(
                pa.compute.equal(output["model_name"], name),
                pa.compute.equal(output["model_version"], version),
            )
            expected = call_model(f"{models}/{name}/{version}", features=precompute.matrix)
            found = values(output.filter(is_of_version)["score"])
            np.testing.assert_allclose(found, expected["score"][:, 0], rtol=1e-5, atol=1e-6)

    def test_one_of_the_models(self, config_file, precompute, tmp_path):
        """`--model_name` chooses it; what is wrong with the others does not matter."""
        config = f"--model_config_file={config_file(RANKER, GONE, WORDS)}"
        assert precompute(config, "--model_name=ranker") == 0
        assert _versions(read_output(tmp_path / "out")) == [("ranker", 1), ("ranker", 2)]

    def test_the_labelled_version_of_each_model(self, config_file, precompute, tmp_path):
        """`--version_label` picks one version of each, pinned in the plan for a resumed job."""
        config = f"--model_config_file={config_file(RANKER, FILTER)}"
        assert precompute(config, "--version_label=stable") == 0
        expected = [("filter", 4), ("ranker", 1)]
        assert _versions(read_output(tmp_path / "out")) == expected
        config_file(RANKER.replace("value: 1", "value: 2"), FILTER)
        assert precompute(config, "--version_label=stable", "--if_exists=resume") == 0
        assert _versions(read_output(tmp_path / "out")) == expected

    def test_a_resumed_job_keeps_its_label(self, config_file, precompute, capfd):
        """Another one conflicts with the plan."""
        config = f"--model_config_file={config_file(RANKER)}"
        assert precompute(config, "--version_label=stable") == 0
        assert precompute("--version_label=canary", "--if_exists=resume") == 2
        assert "--version_label=canary conflicts with the plan" in capfd.readouterr().err

    @pytest.mark.parametrize(
        ("configs", "flags", "message"),
        [
            (
                [RANKER],
                ["--model_base_path=m"],
                "give --model_base_path or --model_config_file, not",
            ),
            ([RANKER], ["--model_version=1"], "--model_version=1 does not go with"),
            ([RANKER], ["--model_name=other"], "lists ranker"),
            (
                [RANKER],
                ["--version_label=beta"],
                "no version label 'beta'; its labels: 'canary', 'stable'",
            ),
            ([RANKER, GONE], [], "model 'gone' of --model_config_file="),
            ([WORDS], [], "a job cannot run the platform 'lookup_table'"),
            ([], [], "lists no models"),
            ([RANKER, RANKER], [], "models.config:8: model 'ranker' is listed a second time"),
            ([RANKER.replace("versions: 2", "versions: 9")], [], "version 9 not found"),
        ],
    )
    def test_what_is_wrong_is_told_at_once(
        self, configs, flags, message, config_file, precompute, tmp_path, capfd
    ):
        """One message, exit code 2, nothing written."""
        assert precompute(f"--model_config_file={config_file(*configs)}", *flags) == 2
        error = capfd.readouterr().err
        assert error.startswith("error: ")
        assert error.count("\n") == 1
        assert message in error
        assert not (tmp_path / "out").exists()

    def test_a_label_needs_a_config_file(self, models, precompute, capfd):
        """A base path has no labels."""
        assert precompute(f"--model_base_path={models}/ranker", "--version_label=stable") == 2
        assert "--version_label=stable needs --model_config_file" in capfd.readouterr().err

    def test_a_config_file_that_is_not_there(self, tmp_path, precompute, capfd):
        """The message has its path."""
        assert precompute(f"--model_config_file={tmp_path}/none") == 2
        assert f"there is no model config file at {tmp_path}/none" in capfd.readouterr().err

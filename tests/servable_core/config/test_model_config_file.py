"""The server's `models.config`, and what is said of mistakes in it."""

import subprocess
import sys
from pathlib import Path

import pytest

from servable_core.config import ModelConfig, ServerConfig, parse_server_config, read_server_config
from servable_core.errors import InvalidArgumentError, NotFoundError
from servable_core.sources import AllVersions, LatestVersions, SpecificVersions, VersionPolicy
from servable_core.testing import FakeFileSystem

EXAMPLE = """
# Two models { of the server's documentation
model_config_list {
  config {
    name: "ranker"
    base_path: "/models/ranker"
    model_platform: "tensorflow"
    model_version_policy { specific { versions: 3 versions: 4 } }
    version_labels { key: "stable" value: 3 }
    version_labels { key: "canary" value: 4 }
    logging_config { sampling_config { sampling_rate: 0.1 } }
  }
  config: <
    name: 'words'
    base_path: "gs://bucket/words"
    model_platform: "lookup_table"
  >
}
"""


def _parse(text: str) -> ServerConfig:
    return parse_server_config(text, directory="/etc/serving")


def _config(rest: str) -> str:
    return f'model_config_list {{\n config {{\n name: "a" base_path: "/a"\n {rest}\n }}\n}}'


def test_the_servers_file_is_read_as_it_is() -> None:
    """Comments, both kinds of brackets and of quotes included."""
    assert _parse(EXAMPLE) == ServerConfig(
        models=(
            ModelConfig(
                name="ranker",
                base_path="/models/ranker",
                platform="tensorflow",
                versions=SpecificVersions((3, 4)),
                version_labels={"canary": 4, "stable": 3},
            ),
            ModelConfig(name="words", base_path="gs://bucket/words", platform="lookup_table"),
        )
    )


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("", LatestVersions(1)),
        ("model_version_policy {}", LatestVersions(1)),
        ("model_version_policy { latest {} }", LatestVersions(1)),
        ("model_version_policy { latest { num_versions: 0 } }", LatestVersions(1)),
        ("model_version_policy { latest { num_versions: 2 } }", LatestVersions(2)),
        ("model_version_policy { all: {} }", AllVersions()),
        ("model_version_policy { specific { versions: [0, 7] } }", SpecificVersions((0, 7))),
    ],
)
def test_version_policies(policy: str, expected: VersionPolicy) -> None:
    """Each that the server knows; without one it is the latest version."""
    (model,) = _parse(_config(f'model_platform: "tensorflow" {policy}')).models

    assert model.versions == expected


@pytest.mark.parametrize("text", ["", "# nothing\n", "model_config_list {}"])
def test_a_file_without_models(text: str) -> None:
    """It is no mistake: a server may start with none."""
    assert _parse(text).models == ()


def test_the_old_model_type_still_means_tensorflow() -> None:
    """Files older than model_platform are read too."""
    assert _parse(_config("model_type: TENSORFLOW")).models[0].platform == "tensorflow"


@pytest.mark.parametrize(
    ("base_path", "expected"),
    [
        ("/models/a", "/models/a"),
        ("models/a", "/etc/serving/models/a"),
        ("./a/", "/etc/serving/a"),
        ("s3://bucket/a", "s3://bucket/a"),
    ],
)
def test_relative_base_paths_are_below_the_directory(base_path: str, expected: str) -> None:
    """Absolute ones and URIs stay as they are."""
    text = f'model_config_list {{ config {{ name: "a" base_path: "{base_path}" model_platform: "tensorflow" }} }}'

    assert _parse(text).models[0].base_path == expected


@pytest.mark.parametrize(
    ("directory", "expected"),
    [
        (".", "{cwd}/models/a"),
        ("", "{cwd}/models/a"),
        ("conf", "{cwd}/conf/models/a"),
        ("gs://bucket/conf", "gs://bucket/conf/models/a"),
    ],
)
def test_a_relative_directory_is_below_the_working_directory(
    directory: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that no relative base path is left, which a core refuses."""
    monkeypatch.chdir(tmp_path)
    text = 'model_config_list { config { name: "a" base_path: "models/a" model_platform: "tensorflow" } }'

    (model,) = parse_server_config(text, directory=directory).models

    assert model.base_path == expected.format(cwd=Path.cwd())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            _config('base_pth: "/b"'),
            "models.config:4: ModelConfig has no field 'base_pth'; expected name, base_path, ",
        ),
        (
            "\nmodels {}",
            "models.config:2: ModelServerConfig has no field 'models'; expected model_",
        ),
        (_config("version_labels { key: 3 }"), "models.config:4: Expected string but found: '3'"),
        (_config("model_type: FOO"), "models.config:4: Enum type .* has no value named FOO"),
        ('model_config_list {\n config {\n name: "a"', 'models.config:3: Expected "}"'),
        ('model_config_list {\n config {\n name: "a }', "models.config:3: String missing ending"),
        (
            _config("model_version_policy { latest {} all {} }"),
            "models.config:4: Field .all. is specified along with field .latest.",
        ),
        (
            _config('model_platform: "torch"'),
            'unknown model_platform .torch.; expected model_platform: "tensorflow" or "lookup_t.*add',
        ),
        (_config(""), "models.config:2: model 'a' has no model_platform; expected model_platform"),
        (_config("model_type: OTHER"), "models.config:2: model 'a' has no model_platform"),
        (
            _config('model_platform: "tensorflow" model_type: TENSORFLOW'),
            "models.config:2: model 'a' has both",
        ),
        (
            _config('model_platform: "tensorflow" model_version_policy { specific {} }'),
            r"models.config:2: model 'a' has specific versions \[\]; expected versions: N",
        ),
        (
            _config('model_platform: "tensorflow" version_labels { key: "x" value: -1 }'),
            "models.config:2: version_labels of model 'a' must map names",
        ),
        ("model_config_list {\n\n config {} }", "models.config:3: this config has no name"),
        (
            'model_config_list { config {\n name: "a" } }',
            "models.config:1: model 'a' has no base_path; expected base_path",
        ),
        (
            EXAMPLE.replace("'words'", "'ranker'"),
            "models.config:13: model 'ranker' is listed a second time",
        ),
        ("custom_model_config {}", "models.config: custom_model_config is not supported"),
    ],
)
def test_mistakes_are_one_message_with_the_line_and_what_was_expected(
    text: str, message: str
) -> None:
    """Those of the text format and those of its meaning alike."""
    with pytest.raises(InvalidArgumentError, match=message) as error:
        _parse(text)
    assert "\n" not in str(error.value)


def test_a_file_is_read_with_paths_below_its_directory(tmp_path: Path) -> None:
    """Local files, and those of other file systems."""
    text = _config('model_platform: "tensorflow"').replace('"/a"', '"a"')
    (tmp_path / "models.config").write_text(text)
    files = FakeFileSystem()
    files.write("gs://bucket/etc/models.config", text.encode())

    local = read_server_config(str(tmp_path / "models.config"))
    remote = read_server_config("gs://bucket/etc/models.config", file_system=files)

    assert local.models[0].base_path == f"{tmp_path}/a"
    assert remote.models[0].base_path == "gs://bucket/etc/a"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """The message names the file."""
    (tmp_path / "binary").write_bytes(b"\xff\xfe")

    with pytest.raises(NotFoundError, match=r"no model config file at /nowhere/models\.config"):
        read_server_config("/nowhere/models.config")
    with pytest.raises(InvalidArgumentError, match="binary: expected a text proto"):
        read_server_config(str(tmp_path / "binary"))


def test_models_of_a_config_made_in_code_are_checked_too() -> None:
    """Names are distinct and nothing is empty."""
    model = ModelConfig(name="a", base_path="/a")

    with pytest.raises(InvalidArgumentError, match="'a' is listed 2 times"):
        ServerConfig(models=(model, model))
    with pytest.raises(InvalidArgumentError, match="base_path of model 'a' must not be empty"):
        ModelConfig(name="a", base_path="")


def test_reading_a_config_does_not_import_tensorflow() -> None:
    """Launchers and mistakes in the file do not pay for it."""
    script = (
        "import sys; from servable_core.config import parse_server_config;"
        "parse_server_config('model_config_list {}', directory='/');"
        "print({'tensorflow', 'apache_beam', 'grpc'} & {m.partition('.')[0] for m in sys.modules})"
    )

    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert result.stdout.strip() == "set()"

"""Platforms by name."""

import subprocess
import sys

import pytest

from servable_core.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError
from servable_core.lifecycle import ServableId, SimpleLoader
from servable_core.servables.platform import Platform
from servable_core.servables.platform_registry import PlatformRegistry
from servable_core.testing import FakeFileSystem

CONSTANT = Platform(
    name="constant",
    create_loader=lambda servable_id, path, file_system: SimpleLoader(lambda: path),
)


def test_a_users_platform_is_found_beside_those_built_in() -> None:
    """One value is all that a new kind of servable needs."""
    platforms = PlatformRegistry([CONSTANT])

    loader = platforms.find("constant").create_loader(ServableId("a", 1), "/a/1", FakeFileSystem())
    loader.load()

    assert loader.servable == "/a/1"
    assert platforms.names == ("tensorflow", "lookup_table", "constant")
    assert CONSTANT.find_missing({}) is None


@pytest.mark.parametrize("name", PlatformRegistry().names)
def test_those_built_in_have_the_name_that_they_are_found_by(name: str) -> None:
    """And lack something in an empty directory."""
    platform = PlatformRegistry().find(name)

    assert platform.name == name
    assert platform.find_missing({}) is not None


def test_mistakes_are_refused() -> None:
    """Unknown names list the known ones, and no name is taken twice."""
    with pytest.raises(NotFoundError, match="'torch'; known are 'tensorflow', 'lookup_table'"):
        PlatformRegistry().find("torch")
    with pytest.raises(AlreadyExistsError, match="'constant'"):
        PlatformRegistry([CONSTANT, CONSTANT])
    with pytest.raises(AlreadyExistsError, match="'tensorflow'"):
        PlatformRegistry([Platform(name="tensorflow", create_loader=CONSTANT.create_loader)])
    with pytest.raises(InvalidArgumentError, match="name of a platform"):
        Platform(name="", create_loader=CONSTANT.create_loader)


def test_tensorflow_is_not_imported_before_a_model_is_loaded() -> None:
    """Neither to find its platform nor to make a loader."""
    script = (
        "import sys; from servable_core.lifecycle import ServableId;"
        "from servable_core.runtime.file_system import LocalFileSystem;"
        "from servable_core.servables.platform_registry import PlatformRegistry;"
        "p = PlatformRegistry(); found = [p.find(name) for name in p.names];"
        "found[0].create_loader(ServableId('a', 1), '/a/1', LocalFileSystem());"
        "print({'tensorflow', 'apache_beam', 'grpc'} & {m.partition('.')[0] for m in sys.modules})"
    )

    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert result.stdout.strip() == "set()"

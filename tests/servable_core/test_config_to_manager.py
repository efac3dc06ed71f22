"""From a `models.config` to servables: config, source, router, platforms and manager together."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from servable_core.config import parse_server_config
from servable_core.errors import NotFoundError
from servable_core.lifecycle import (
    DynamicSourceRouter,
    ErrorInjectingSourceAdapter,
    Loader,
    ServableId,
    ServableRequest,
    UnarySourceAdapter,
    connect,
)
from servable_core.managers.aspired_versions_manager import AspiredVersionsManager
from servable_core.runtime.file_system import LocalFileSystem
from servable_core.servables.lookup_table import LookupTable
from servable_core.servables.platform_registry import PlatformRegistry
from servable_core.sources import (
    FileSystemStoragePathSource,
    FileSystemStoragePathSourceOptions,
    WatchedServable,
)

CONFIG = """
model_config_list {
  config { name: "words" base_path: "words" model_platform: "lookup_table" }
  config { name: "gone" base_path: "gone" model_platform: "lookup_table" }
}
"""


def _write_version(directory: Path, version: int) -> None:
    path = directory / "words" / str(version)
    path.mkdir(parents=True)
    (path / "words.csv").write_text(f"key,id\na,{version}\n")


def test_versions_come_and_go_while_a_model_is_missing(tmp_path: Path) -> None:
    """The one that is there serves its latest version; the other says what is wrong."""
    config = parse_server_config(CONFIG, directory=str(tmp_path))
    platforms, files = PlatformRegistry(), LocalFileSystem()
    platform = platforms.find("lookup_table")
    source = FileSystemStoragePathSource(
        FileSystemStoragePathSourceOptions(
            servables={
                model.name: WatchedServable(
                    base_path=model.base_path,
                    version_policy=model.versions,
                    find_missing=platforms.find(model.platform).find_missing,
                )
                for model in config.models
            },
            poll_interval_secs=None,
            settle_secs=0,
        )
    )
    router = DynamicSourceRouter[str](2, {model.name: 0 for model in config.models})
    load = UnarySourceAdapter[str, Loader[Any]](
        lambda servable_id, path: platform.create_loader(servable_id, path, files)
    )
    refuse = ErrorInjectingSourceAdapter[str, Loader[Any]](NotFoundError("no such platform"))
    _write_version(tmp_path, 1)

    with (
        AspiredVersionsManager() as manager,
        connect(load, manager),
        connect(refuse, manager),
        connect(router.output_ports[0], load),
        connect(router.output_ports[1], refuse),
        connect(source, router),
    ):
        source.step()
        manager.wait_until_available([ServableId("words", 1)], 30)
        _write_version(tmp_path, 2)
        source.step()
        manager.wait_until_available([ServableId("words", 2)], 30)
        with manager.get_servable_handle(ServableRequest.latest("words"), LookupTable) as handle:
            values, found = handle.servable.lookup(np.array(["a", "b"]))

        with pytest.raises(NotFoundError):
            manager.get_servable_handle(ServableRequest.latest("gone"), LookupTable)

    assert (values["id"].tolist(), found.tolist()) == ([2, 0], [True, False])
    assert f"base path {tmp_path}/gone of servable 'gone'" in str(source.statuses()["gone"].error)

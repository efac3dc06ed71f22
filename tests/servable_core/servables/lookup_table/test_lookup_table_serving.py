"""Lookup tables as users have them: a directory of versions, found by the platform's name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from servable_core.config import ModelConfig, ServerConfig
from servable_core.lifecycle import (
    Loader,
    ServableId,
    ServableRequest,
    UnarySourceAdapter,
    connect,
)
from servable_core.managers import AspiredVersionsManager
from servable_core.runtime.file_system import LocalFileSystem
from servable_core.servables.lookup_table import LookupTable
from servable_core.servables.platform_registry import PlatformRegistry
from servable_core.server_core import ServerCore, ServerCoreOptions
from servable_core.sources import (
    FileSystemStoragePathSource,
    FileSystemStoragePathSourceOptions,
    WatchedServable,
)

_PATIENCE_SECS = 30.0
_KEYS = np.array(["b", "a"])
Write = Callable[[Path, np.ndarray], None]


def _write_csv(directory: Path, values: np.ndarray) -> None:
    rows = [f"{key},{value}\n" for key, value in zip(_KEYS, values, strict=True)]
    (directory / "table.csv").write_text("key,value\n" + "".join(rows))


def _write_parquet(directory: Path, values: np.ndarray) -> None:
    pq.write_table(pa.table({"key": _KEYS, "value": values}), directory / "table.parquet")


def _write_npz(directory: Path, values: np.ndarray) -> None:
    np.savez(directory / "table.npz", key=_KEYS, value=values)


def _write_version(base_path: Path, version: int, write: Write) -> None:
    directory = base_path / str(version)
    directory.mkdir(parents=True)
    write(directory, np.array([version, 10 * version]))


def _look_up(manager: AspiredVersionsManager | ServerCore) -> tuple[list[int], list[bool]]:
    with manager.get_servable_handle(ServableRequest.latest("words"), LookupTable) as handle:
        values, found = handle.servable.lookup(np.array(["a", "x", "b"]))
    return values["value"].tolist(), found.tolist()


@pytest.mark.parametrize("write", [_write_csv, _write_parquet, _write_npz])
def test_the_manager_swaps_tables(tmp_path: Path, write: Write) -> None:
    """A newer version replaces an older one, whatever the format; values outlive their table."""
    platform, files = PlatformRegistry().find("lookup_table"), LocalFileSystem()
    watched = WatchedServable(base_path=str(tmp_path), find_missing=platform.find_missing)
    options = FileSystemStoragePathSourceOptions(
        servables={"words": watched}, poll_interval_secs=None, settle_secs=0
    )
    source = FileSystemStoragePathSource(options)
    adapter = UnarySourceAdapter[str, Loader[Any]](
        lambda servable_id, path: platform.create_loader(servable_id, path, files)
    )
    answers = []
    with AspiredVersionsManager() as manager, connect(adapter, manager), connect(source, adapter):
        for version in (1, 2):
            _write_version(tmp_path, version, write)
            source.step()
            manager.wait_until_available([ServableId("words", version)], _PATIENCE_SECS)
            answers.append(_look_up(manager))

    assert answers == [([10, 0, 1], [True, False, True]), ([20, 0, 2], [True, False, True])]


@pytest.mark.parametrize("write", [_write_csv, _write_parquet, _write_npz])
def test_a_server_serves_tables(tmp_path: Path, write: Write) -> None:
    """A config names the platform, and that is all."""
    _write_version(tmp_path, 3, write)
    model = ModelConfig(name="words", base_path=str(tmp_path), platform="lookup_table")

    with ServerCore(
        ServerConfig(models=(model,)), options=ServerCoreOptions(settle_secs=0)
    ) as core:
        assert _look_up(core) == ([30, 0, 3], [True, False, True])

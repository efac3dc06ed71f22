"""Handles are released once, whatever happens to them."""

import gc
from collections.abc import Callable

import pytest

from servable_core.errors import FailedPreconditionError
from servable_core.lifecycle import ServableHandle, ServableId

ID = ServableId("a", 1)


def _count() -> tuple[list[str], Callable[[], None]]:
    releases: list[str] = []
    return releases, lambda: releases.append("released")


def _drop_open(release: Callable[[], None]) -> None:
    ServableHandle(ID, "servable", release)
    gc.collect()


def test_a_handle_releases_at_the_end_of_its_block() -> None:
    """Inside the block servable and id are there."""
    releases, release = _count()

    with ServableHandle(ID, "servable", release) as handle:
        assert handle.servable == "servable"
        assert handle.servable_id == ID
        assert releases == []

    assert releases == ["released"]


def test_closing_twice_releases_once() -> None:
    """Close is idempotent."""
    releases, release = _count()
    handle = ServableHandle(ID, "servable", release)

    handle.close()
    handle.close()

    assert releases == ["released"]


def test_a_closed_handle_gives_no_servable() -> None:
    """Use after close is an error, not a use after unload."""
    handle = ServableHandle(ID, "servable", lambda: None)
    handle.close()

    with pytest.raises(FailedPreconditionError, match="a/1 is closed"):
        _ = handle.servable


def test_a_handle_dropped_open_warns_and_releases() -> None:
    """The leak is loud, but the servable can still be unloaded."""
    releases, release = _count()

    with pytest.warns(ResourceWarning, match="a/1 was dropped open"):
        _drop_open(release)

    assert releases == ["released"]


def test_a_handle_of_none_works() -> None:
    """None is a servable like any other."""
    with ServableHandle(ID, None, lambda: None) as handle:
        assert handle.servable is None

"""The loader made of functions."""

import pytest

from servable_core.errors import FailedPreconditionError
from servable_core.lifecycle import SimpleLoader


def test_the_servable_exists_between_load_and_unload() -> None:
    """Before and after there is none, and asking for it is an error."""
    loader = SimpleLoader(lambda: "servable")

    with pytest.raises(FailedPreconditionError):
        _ = loader.servable
    loader.load()
    assert loader.servable == "servable"
    loader.unload()
    with pytest.raises(FailedPreconditionError):
        _ = loader.servable


def test_unload_passes_the_servable_to_destroy() -> None:
    """What needs an explicit close gets it, once."""
    destroyed: list[str] = []
    loader = SimpleLoader(lambda: "servable", destroyed.append)

    loader.load()
    loader.unload()

    assert destroyed == ["servable"]


def test_a_failed_load_leaves_nothing_and_may_be_repeated() -> None:
    """The error comes through unchanged; the next attempt starts afresh."""
    outcomes = iter([1, 0])
    loader = SimpleLoader(lambda: 1 // (1 - next(outcomes)))

    with pytest.raises(ZeroDivisionError):
        loader.load()
    with pytest.raises(FailedPreconditionError):
        _ = loader.servable
    loader.load()
    assert loader.servable == 1

"""The fake loader records, fails and checks."""

import threading

import pytest

from servable_core.errors import FailedPreconditionError, UnavailableError
from servable_core.testing import FakeLoader


def test_it_fails_as_often_as_told() -> None:
    """Then it loads, and every attempt is on record."""
    loader = FakeLoader("value", num_failures=1)

    with pytest.raises(UnavailableError):
        loader.load()
    loader.load()

    assert loader.servable.use() == "value"
    assert loader.load_threads == [threading.current_thread().name] * 2


def test_use_after_unload_is_caught() -> None:
    """A dangling reference to the servable raises."""
    loader = FakeLoader()
    loader.load()
    servable = loader.servable

    loader.unload()

    assert not loader.is_loaded
    with pytest.raises(FailedPreconditionError, match="after its unload"):
        servable.use()


def test_loading_again_is_caught() -> None:
    """A loader is used once."""
    loader = FakeLoader()
    loader.load()
    loader.unload()

    with pytest.raises(FailedPreconditionError):
        loader.load()

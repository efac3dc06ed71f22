"""The loader made of functions."""

import weakref

import pytest

from servable_core.errors import FailedPreconditionError
from servable_core.lifecycle import Loader, ResourceUnsafeLoader, SimpleLoader
from servable_core.resources import EMPTY, host_ram


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


def test_without_an_estimator_nothing_is_needed() -> None:
    """Nor by a loader that opts out on purpose."""

    class Unsafe(ResourceUnsafeLoader[str], SimpleLoader[str]):
        """Opts out, whatever its estimator says."""

    unsafe = Unsafe(lambda: "servable", estimate=lambda: host_ram(1))

    assert SimpleLoader(lambda: "servable").estimate_resources() == EMPTY
    assert unsafe.estimate_resources() == EMPTY


def test_estimators_are_asked_once_before_and_once_after_the_load() -> None:
    """What the load needed beyond is released then."""
    calls: list[str] = []

    def told(call: str, num_bytes: int) -> int:
        calls.append(call)
        return num_bytes

    loader: Loader[str] = SimpleLoader(
        lambda: "servable",
        estimate=lambda: host_ram(told("before", 5)),
        estimate_loaded=lambda: host_ram(told("after", 3)),
        release_memory=lambda: calls.append("released"),
    )
    estimates = [loader.estimate_resources(), loader.estimate_resources()]
    loader.load()
    estimates += [loader.estimate_resources(), loader.estimate_resources()]

    assert estimates == [host_ram(5), host_ram(5), host_ram(3), host_ram(3)]
    assert calls == ["before", "after", "released"]


def test_memory_is_released_also_where_destroying_failed() -> None:
    """The servable is dropped in any case."""
    released: list[bool] = []

    def destroy(_servable: str) -> None:
        raise OSError("still busy")

    loader = SimpleLoader(lambda: "servable", destroy, release_memory=lambda: released.append(True))
    loader.load()
    with pytest.raises(OSError, match="still busy"):
        loader.unload()

    assert released == [True]


def test_memory_is_released_after_the_servable_is_gone() -> None:
    """No reference is left when that happens."""

    class Servable:
        """Something that can be referred to weakly."""

    gone: list[bool] = []
    loader = SimpleLoader(Servable, release_memory=lambda: gone.append(reference() is None))
    loader.load()
    reference = weakref.ref(loader.servable)
    loader.unload()

    assert gone == [True]

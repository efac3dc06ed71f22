"""The state machine of one servable."""

import sys
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from typing_extensions import override

from servable_core.errors import (
    CancelledError,
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
    ServableCoreError,
    UnavailableError,
)
from servable_core.lifecycle import HarnessState, Loader, ServableData, ServableId, SimpleLoader
from servable_core.managers import LoaderHarness
from servable_core.runtime.retry import RetryOptions
from servable_core.testing import FakeClock, FakeLoader, FakeServable

ID = ServableId("m", 1)
NO_RETRIES = RetryOptions(max_num_retries=0)


def _harness(
    loader: Loader[object], *, retries: RetryOptions = NO_RETRIES, clock: FakeClock | None = None
) -> LoaderHarness:
    return LoaderHarness(
        ServableData.of(ID, loader), retry_options=retries, clock=clock or FakeClock()
    )


def _approved(
    loader: Loader[object], *, retries: RetryOptions = NO_RETRIES, clock: FakeClock | None = None
) -> LoaderHarness:
    harness = _harness(loader, retries=retries, clock=clock)
    harness.load_requested()
    harness.load_approved()
    return harness


STEPS: list[tuple[Callable[[LoaderHarness], object], HarnessState]] = [
    (LoaderHarness.load_requested, HarnessState.LOAD_REQUESTED),
    (LoaderHarness.load_approved, HarnessState.LOAD_APPROVED),
    (LoaderHarness.load, HarnessState.READY),
    (LoaderHarness.unload_requested, HarnessState.UNLOAD_REQUESTED),
    (LoaderHarness.start_quiescing, HarnessState.QUIESCING),
    (LoaderHarness.done_quiescing, HarnessState.QUIESCED),
    (LoaderHarness.unload, HarnessState.DISABLED),
]
INTERNAL_STEPS = [step for step in STEPS if "requested" not in step[0].__name__]


def test_a_whole_life() -> None:
    """Each step leads to the next state, and the loader is used once."""
    loader = FakeLoader()
    harness = _harness(loader)
    seen = [harness.state]

    for step, _ in STEPS:
        step(harness)
        seen.append(harness.state)

    assert seen == [HarnessState.NEW, *(state for _, state in STEPS)]
    assert len(loader.load_threads) == len(loader.unload_threads) == 1
    assert harness.error is None


@pytest.mark.parametrize(("step", "state"), INTERNAL_STEPS)
def test_a_step_out_of_order_is_an_error_for_good(
    step: Callable[[LoaderHarness], object], state: HarnessState
) -> None:
    """Steps that only the manager takes must follow their predecessor."""
    harness = _harness(FakeLoader())

    with pytest.raises(InternalError, match="illegal request to take m/1 from 'new'"):
        step(harness)

    assert harness.state is HarnessState.ERROR
    assert isinstance(harness.error, InternalError)


@pytest.mark.parametrize("num_steps", range(1, len(STEPS) + 1))
def test_a_second_load_request_changes_nothing(num_steps: int) -> None:
    """It is refused in every state but the first."""
    harness = _harness(FakeLoader())
    for step, _ in STEPS[:num_steps]:
        step(harness)

    with pytest.raises(FailedPreconditionError, match="requested before"):
        harness.load_requested()

    assert harness.state is STEPS[num_steps - 1][1]


@pytest.mark.parametrize("num_steps", [0, 1, 2, 4, 5, 6, 7])
def test_an_unload_request_needs_a_loaded_servable(num_steps: int) -> None:
    """It is refused in every state but READY."""
    harness = _harness(FakeLoader())
    for step, _ in STEPS[:num_steps]:
        step(harness)
    before = harness.state

    with pytest.raises(FailedPreconditionError):
        harness.unload_requested()

    assert harness.state is before


@pytest.mark.parametrize("request_name", ["load_requested", "unload_requested"])
def test_of_concurrent_requests_exactly_one_wins(request_name: str) -> None:
    """Eight threads ask at the same moment."""
    harness = _harness(FakeLoader())
    for step, _ in STEPS[:3] if request_name == "unload_requested" else []:
        step(harness)
    barrier = threading.Barrier(8)

    def ask() -> bool:
        barrier.wait(10)
        try:
            getattr(harness, request_name)()
        except FailedPreconditionError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        wins = [pool.submit(ask) for _ in range(8)]

    assert sum(win.result() for win in wins) == 1


def test_failed_data_starts_in_error() -> None:
    """What could not even be found is a version in error."""
    error = OSError("unreadable")

    harness = LoaderHarness(
        ServableData.failed(ID, error), retry_options=NO_RETRIES, clock=FakeClock()
    )

    assert harness.state is HarnessState.ERROR
    assert harness.error is error


def test_load_retries_with_growing_back_off() -> None:
    """The third attempt comes after 10 and then 20 seconds, and succeeds."""
    clock, loader = FakeClock(), FakeLoader(num_failures=2)
    retries = RetryOptions(max_num_retries=2, initial_backoff_secs=10)
    harness = _approved(loader, retries=retries, clock=clock)

    with ThreadPoolExecutor() as pool:
        loading = pool.submit(harness.load)
        clock.block_until_waiters(1)
        assert len(loader.load_threads) == 1
        clock.advance(10)
        clock.block_until_waiters(1)
        assert len(loader.load_threads) == 2
        clock.advance(19)
        clock.block_until_waiters(1)
        assert len(loader.load_threads) == 2
        clock.advance(1)
        loading.result(10)

    assert harness.state is HarnessState.READY


def test_when_retries_run_out_the_last_error_stays() -> None:
    """It is raised, and kept for those who ask later."""
    error = UnavailableError("busy")
    loader = FakeLoader(num_failures=9, error=error)
    harness = _approved(loader, retries=RetryOptions(max_num_retries=2, initial_backoff_secs=0))

    with pytest.raises(UnavailableError, match="busy"):
        harness.load()

    assert len(loader.load_threads) == 3
    assert harness.state is HarnessState.ERROR
    assert harness.error is error


def test_an_error_that_cannot_pass_is_not_retried() -> None:
    """A model that is wrong stays wrong."""
    loader = FakeLoader(num_failures=9, error=InvalidArgumentError("no such signature"))
    harness = _approved(loader, retries=RetryOptions(max_num_retries=5, initial_backoff_secs=0))

    with pytest.raises(InvalidArgumentError):
        harness.load()

    assert len(loader.load_threads) == 1


def test_a_cancelled_load_never_becomes_ready() -> None:
    """The attempt under way goes on, and its success is undone on the same thread."""
    gate = threading.Event()
    loader = FakeLoader(load_gate=gate)
    harness = _approved(loader)

    with ThreadPoolExecutor() as pool:
        loading = pool.submit(harness.load)
        loader.load_started.wait(10)
        harness.cancel_load()
        gate.set()
        with pytest.raises(CancelledError, match="loading of m/1 was cancelled"):
            loading.result(10)

    assert harness.state is HarnessState.DISABLED
    assert loader.unload_threads == loader.load_threads


def test_a_load_cancelled_before_it_began_does_not_begin() -> None:
    """The loader is not touched."""
    loader = FakeLoader()
    harness = _approved(loader)

    harness.cancel_load()
    with pytest.raises(CancelledError):
        harness.load()

    assert loader.load_threads == []
    assert harness.state is HarnessState.ERROR


def test_cancelling_ends_a_back_off_at_once() -> None:
    """No time passes on the clock, yet the hour of back-off is over."""
    clock, loader = FakeClock(), FakeLoader(num_failures=9)
    retries = RetryOptions(initial_backoff_secs=3600, max_backoff_secs=3600)
    harness = _approved(loader, retries=retries, clock=clock)

    with ThreadPoolExecutor() as pool:
        loading = pool.submit(harness.load)
        clock.block_until_waiters(1)
        harness.cancel_load()
        with pytest.raises(CancelledError) as caught:
            loading.result(10)

    assert isinstance(caught.value.__cause__, UnavailableError)
    assert len(loader.load_threads) == 1
    assert harness.state is HarnessState.ERROR
    assert harness.error is caught.value


@pytest.mark.parametrize("fails_in", ["load", "unload"])
def test_a_load_that_fails_after_its_cancellation_ends_as_cancelled(fails_in: str) -> None:
    """Nobody waits for it any more: neither its failure nor that of undoing it is news."""
    error = UnavailableError("too late")

    def create() -> object:
        harness.cancel_load()
        if fails_in == "load":
            raise error
        return object()

    def destroy(_servable: object) -> None:
        raise error

    harness = _approved(SimpleLoader(create, destroy))
    with pytest.raises(CancelledError) as caught:
        harness.load()

    assert caught.value.__cause__ is error
    assert harness.error is caught.value


def test_an_unload_that_fails_after_a_vain_cancellation_shows_its_own_error() -> None:
    """The load was over when it was cancelled, so it was not."""

    def destroy(_servable: object) -> None:
        raise UnavailableError("still busy")

    harness = _harness(SimpleLoader(object, destroy))
    for step, _ in STEPS[:-1]:
        step(harness)
    harness.cancel_load()

    with pytest.raises(UnavailableError, match="still busy"):
        harness.unload()

    assert isinstance(harness.error, UnavailableError)


class _WithoutServable(FakeLoader):
    """Loads, but cannot give what it has loaded; nor unload it, where told so."""

    def __init__(self, *, unload_error: Exception | None = None) -> None:
        super().__init__()
        self._unload_error = unload_error

    @property
    @override
    def servable(self) -> FakeServable:
        raise UnavailableError("no servable")

    @override
    def unload(self) -> None:
        self._servable = None
        if self._unload_error is not None:
            raise self._unload_error


@pytest.mark.parametrize("unload_error", [None, OSError("not unloaded")])
def test_a_loader_that_cannot_give_its_servable_is_unloaded(unload_error: Exception | None) -> None:
    """What it had loaded does not leak, and its own error is the one that is told."""
    loader = _WithoutServable(unload_error=unload_error)
    harness = _approved(loader)

    with pytest.raises(UnavailableError, match="no servable"):
        harness.load()

    assert not loader.is_loaded
    assert harness.state is HarnessState.ERROR
    assert isinstance(harness.error, UnavailableError)


def test_a_cancelled_load_keeps_no_reference_to_what_it_drops() -> None:
    """Otherwise its memory could not be given back when the loader does so."""

    class Servable:
        """Something that can be referred to weakly."""

    gone: list[bool] = []
    made: list[weakref.ref[Servable]] = []

    def create() -> Servable:
        servable = Servable()
        made.append(weakref.ref(servable))
        harness.cancel_load()
        return servable

    loader = SimpleLoader(create, release_memory=lambda: gone.append(made[0]() is None))
    harness = _approved(loader)
    with pytest.raises(CancelledError):
        harness.load()

    assert gone == [True]


def test_what_is_no_loader_is_refused() -> None:
    """The message names its type and its id, and says what is missing."""
    data: ServableData[Any] = ServableData.of(ID, "/models/m/1")

    with pytest.raises(InvalidArgumentError, match="m/1 must come with a Loader, got str"):
        LoaderHarness(data, retry_options=NO_RETRIES, clock=FakeClock())


def test_cancelling_a_ready_servable_changes_nothing() -> None:
    """It is unloaded like any other, when that is requested."""
    harness = _approved(FakeLoader())
    harness.load()

    harness.cancel_load()

    assert harness.state is HarnessState.READY


def test_a_failing_unload_ends_in_error() -> None:
    """The error is raised and kept."""

    def destroy(servable: object) -> None:
        raise UnavailableError("still busy")

    harness = _harness(SimpleLoader(object, destroy))
    for step, _ in STEPS[:-1]:
        step(harness)

    with pytest.raises(UnavailableError, match="still busy"):
        harness.unload()

    assert harness.state is HarnessState.ERROR


def test_a_loader_that_tries_to_end_the_process_fails_visibly() -> None:
    """Nobody may wait for ever for such a load."""
    harness = _approved(SimpleLoader(lambda: sys.exit(3)))

    with pytest.raises(SystemExit):
        harness.load()

    assert harness.state is HarnessState.ERROR
    assert isinstance(harness.error, ServableCoreError)
    assert isinstance(harness.error.__cause__, SystemExit)


def test_a_failed_load_does_not_keep_what_it_had_made() -> None:
    """The tracebacks of the error and of its cause hold no locals of the loader."""
    made: list[weakref.ref[threading.Event]] = []

    def create() -> object:
        half_loaded = threading.Event()
        made.append(weakref.ref(half_loaded))
        raise OSError("half-way")

    def create_and_explain() -> object:
        try:
            return create()
        except OSError as error:
            raise UnavailableError("not loaded") from error

    harness = _approved(SimpleLoader(create_and_explain))
    with pytest.raises(UnavailableError):
        harness.load()

    assert harness.error is not None
    assert made[0]() is None


def test_a_failure_names_its_servable_to_whoever_sees_the_traceback() -> None:
    """Once, however often the same error comes; its message stays that of the loader."""
    error = KeyError("weights")
    for _ in range(2):
        with pytest.raises(KeyError):
            _approved(FakeLoader(num_failures=1, error=error)).load()

    assert str(error) == "'weights'"
    assert error.__notes__ == ["servable m/1"]

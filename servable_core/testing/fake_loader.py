"""A loader that records what is done to it, and fails or blocks on demand."""

import threading

from typing_extensions import override

from servable_core.errors import FailedPreconditionError, UnavailableError
from servable_core.lifecycle.loader import Loader
from servable_core.resources.resource_allocation import EMPTY, ResourceAllocation

_PATIENCE_SECS = 10.0  # of real time, before a blocked call gives up


class FakeServable:
    """Knows whether it may be used."""

    def __init__(self, value: object = None) -> None:
        self.value = value
        self.is_loaded = True

    def use(self) -> object:
        """Returns `value`.

        Raises:
            FailedPreconditionError: If it has been unloaded: somebody's handle dangles.
        """
        if not self.is_loaded:
            raise FailedPreconditionError("the servable was used after its unload")
        return self.value


class FakeLoader(Loader[FakeServable]):
    """Checks the contract of `Loader` as it goes; thread-safe for reading from tests.

    Args:
        value: What the servable returns when it is used.
        num_failures: So many calls of `load` fail before the first success.
        error: What they fail with.
        load_gate: `load` waits for it, when given.
        unload_gate: `unload` waits for it, when given.
        resources: What it estimates until it is loaded.
        loaded_resources: What it estimates from then on; by default the same.
        num_estimate_failures: So many calls of `estimate_resources` fail before the first success.

    Attributes:
        num_failures: As above; may be changed at any time.
        load_threads: The name of the thread of each call of `load`.
        unload_threads: The name of the thread of each call of `unload`.
        load_started: Set when `load` is first called.
        unload_started: Set when `unload` is called.
    """

    def __init__(
        self,
        value: object = None,
        *,
        num_failures: int = 0,
        error: Exception | None = None,
        load_gate: threading.Event | None = None,
        unload_gate: threading.Event | None = None,
        resources: ResourceAllocation = EMPTY,
        loaded_resources: ResourceAllocation | None = None,
        num_estimate_failures: int = 0,
    ) -> None:
        self._value = value
        self.num_failures = num_failures
        self._error = error or UnavailableError("the fake loader was told to fail")
        self._load_gate = load_gate
        self._unload_gate = unload_gate
        self._resources = resources
        self._loaded_resources = resources if loaded_resources is None else loaded_resources
        self._num_estimate_failures = num_estimate_failures
        self._servable: FakeServable | None = None
        self.load_threads: list[str] = []
        self.unload_threads: list[str] = []
        self.load_started = threading.Event()
        self.unload_started = threading.Event()

    @property
    def is_loaded(self) -> bool:
        """Whether the servable exists."""
        return self._servable is not None

    @override
    def estimate_resources(self) -> ResourceAllocation:
        if self._num_estimate_failures:
            self._num_estimate_failures -= 1
            raise self._error
        return self._loaded_resources if self.is_loaded else self._resources

    @override
    def load(self) -> None:
        if self._servable is not None or self.unload_threads:
            raise FailedPreconditionError("load was called on a loader that had been loaded before")
        self.load_threads.append(threading.current_thread().name)
        self.load_started.set()
        _pass(self._load_gate)
        if len(self.load_threads) <= self.num_failures:
            raise self._error
        self._servable = FakeServable(self._value)

    @override
    def unload(self) -> None:
        servable = self.servable
        self.unload_threads.append(threading.current_thread().name)
        self.unload_started.set()
        _pass(self._unload_gate)
        servable.is_loaded = False
        self._servable = None

    @property
    @override
    def servable(self) -> FakeServable:
        if self._servable is None:
            raise FailedPreconditionError("the servable is not loaded")
        return self._servable


def _pass(gate: threading.Event | None) -> None:
    if gate is not None and not gate.wait(_PATIENCE_SECS):
        raise AssertionError("nobody opened the gate")

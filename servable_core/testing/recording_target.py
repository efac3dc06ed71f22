"""A target that remembers what it was told."""

import threading
from collections.abc import Sequence
from typing import Generic, TypeVar

from typing_extensions import override

from servable_core.lifecycle.servable_data import ServableData
from servable_core.lifecycle.source import Target

T = TypeVar("T")

_PATIENCE_SECS = 10.0  # of real time, before a test that waits in vain fails


class RecordingTarget(Target[T], Generic[T]):
    """Records every call; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._called = threading.Condition(self._lock)
        self._calls: list[tuple[str, list[ServableData[T]]]] = []  # Guarded by _lock.

    @property
    def calls(self) -> list[tuple[str, list[ServableData[T]]]]:
        """The servable name and the full list of each call, in order."""
        with self._lock:
            return list(self._calls)

    @property
    def aspired(self) -> dict[str, dict[int, T]]:
        """What the last call for each servable asked for: data by version; raises their errors."""
        return {
            name: {each.servable_id.version: each.unwrap() for each in versions}
            for name, versions in self.calls
        }

    @override
    def set_aspired_versions(self, servable_name: str, versions: Sequence[ServableData[T]]) -> None:
        with self._lock:
            self._calls.append((servable_name, list(versions)))
            self._called.notify_all()

    def clear(self) -> None:
        """Forgets all calls."""
        with self._lock:
            self._calls.clear()

    def block_until_calls(self, num_calls: int) -> None:
        """Returns when at least `num_calls` calls are recorded.

        Raises:
            AssertionError: If they are not within ten real seconds.
        """
        with self._lock:
            if not self._called.wait_for(lambda: len(self._calls) >= num_calls, _PATIENCE_SECS):
                raise AssertionError(f"{len(self._calls)} calls came, not {num_calls}")

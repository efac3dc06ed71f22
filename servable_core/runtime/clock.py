"""The only reader of time. Everything that waits takes a `Clock`, so tests can turn it by hand."""

import threading
import time
from typing import Protocol

from typing_extensions import override


class Clock(Protocol):
    """Reads time and waits. Implementations are thread-safe."""

    def now(self) -> float:
        """Returns monotonic seconds; only differences mean anything."""

    def wall_time(self) -> float:
        """Returns seconds since the Unix epoch."""

    def wait(self, condition: threading.Condition, timeout_secs: float | None) -> None:
        """Waits on `condition`, which the caller holds, for at most `timeout_secs`.

        May return early without a notification: call it in a loop on the caller's predicate.
        """


class SystemClock(Clock):
    """The machine's clock."""

    now = staticmethod(time.monotonic)  # no call of ours between: it is read for every task

    @override
    def wall_time(self) -> float:
        return time.time()

    @override
    def wait(self, condition: threading.Condition, timeout_secs: float | None) -> None:
        condition.wait(timeout_secs)

"""A wait for a predicate, by a clock that tests can turn."""

import threading
from collections.abc import Callable

from servable_core.runtime.clock import Clock


def wait_for(
    predicate: Callable[[], bool],
    *,
    condition: threading.Condition,
    clock: Clock,
    timeout_secs: float | None,
) -> bool:
    """Waits until `predicate` holds, at most `timeout_secs`; returns whether it does.

    Args:
        predicate: Called with `condition` held.
        condition: Held by the caller; notified whenever the predicate may have changed.
        clock: Measures the time-out.
        timeout_secs: None waits for ever.
    """
    deadline = None if timeout_secs is None else clock.now() + timeout_secs
    while not predicate():
        remaining_secs = None if deadline is None else deadline - clock.now()
        if remaining_secs is not None and remaining_secs <= 0:
            return False
        clock.wait(condition, remaining_secs)
    return True

"""The bytes that all units of a process may have in flight, together."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(eq=False, slots=True)
class _Claim:
    holder: object
    num_bytes: int
    is_granted: bool = field(default=False)


class ByteBudget:
    """Counts bytes that several holders have. Thread-safe.

    A holder that has nothing gets what it asks for at once, however much that is. So whoever uses up
    what it has never waits for others for ever, and what all have exceeds the bound by one claim of
    each holder at most. All others wait until there is room, in the order in which they asked.
    """

    def __init__(self, max_bytes: int) -> None:
        """Makes a budget that nobody has claimed anything of."""
        self._max_bytes = max_bytes
        self._changed = threading.Condition()
        self._held_bytes: dict[object, int] = {}  # Guarded by _changed.
        self._claims: list[_Claim] = []  # Those that wait, in order. Guarded by _changed.

    @property
    def held_bytes(self) -> int:
        """Returns what all holders have together."""
        with self._changed:
            return sum(self._held_bytes.values())

    def acquire(
        self, holder: object, num_bytes: int, on_wait: Callable[[], None] = lambda: None
    ) -> bool:
        """Waits until `holder` may have so many more bytes; one thread of each holder at a time.

        Args:
            holder: Who asks.
            num_bytes: How many.
            on_wait: Called before it waits, if it has to: `is_waiting` is true by then.

        Returns:
            Whether it has them; False if `forget` came first.
        """
        claim = _Claim(holder, num_bytes)
        with self._changed:
            self._claims.append(claim)
            self._grant()
            if claim.is_granted:
                return True
        on_wait()
        with self._changed:
            while claim in self._claims:
                self._changed.wait()
            return claim.is_granted

    def try_acquire(self, holder: object, num_bytes: int) -> bool:
        """Returns whether `holder` may have so many more bytes now; never waits, nor goes beyond.

        Those who wait come first, and a holder that has nothing is refused like any other.
        """
        with self._changed:
            held_bytes = sum(self._held_bytes.values())
            if self._claims or held_bytes + num_bytes > self._max_bytes:
                return False
            self._held_bytes[holder] = self._held_bytes.get(holder, 0) + num_bytes
            return True

    def release(self, holder: object, num_bytes: int) -> None:
        """Takes bytes back, but no more than the holder has."""
        with self._changed:
            left_bytes = self._held_bytes.pop(holder, 0) - num_bytes
            if left_bytes > 0:
                self._held_bytes[holder] = left_bytes
            self._grant()
            self._changed.notify_all()

    def is_waiting(self, holder: object) -> bool:
        """Whether the holder waits for others, or itself, to give bytes back."""
        with self._changed:
            return any(claim.holder is holder for claim in self._claims)

    def forget(self, holder: object) -> None:
        """Takes back all that the holder has, and ends its waiting."""
        with self._changed:
            self._held_bytes.pop(holder, None)
            self._claims = [claim for claim in self._claims if claim.holder is not holder]
            self._grant()
            self._changed.notify_all()

    def _grant(self) -> None:
        """Grants what can be granted; the first claim without room keeps room for itself."""
        left = self._max_bytes - sum(self._held_bytes.values())
        is_first = True
        for claim in list(self._claims):
            has = self._held_bytes.get(claim.holder, 0)
            if has == 0 or (is_first and claim.num_bytes <= left):
                self._held_bytes[claim.holder] = has + claim.num_bytes
                left -= claim.num_bytes
                claim.is_granted = True
                self._claims.remove(claim)
            else:
                is_first = False

"""States of many batches, merged seldom enough to be cheap."""

from servable_core.runtime.memory import release_unused_memory
from transforms.metrics.evaluation import Evaluation
from transforms.metrics.metric_family import States
from transforms.metrics.state import State

# What may wait while little was merged, and once that is more: counting rows that wait takes memory.
_FEW_BYTES = 64 << 20
_MANY_BYTES = 32 << 20


class Accumulator:
    """Adds up states; not safe for use by several threads.

    What was added waits, as merging many states costs little more than merging two, until that
    would take too much memory. States are merged by name, and what was merged is let go, so that no
    more than the largest of them is held twice.
    """

    def __init__(self, evaluation: Evaluation) -> None:
        self._empty = evaluation.create()
        self._states: dict[str, list[State]] = {name: [] for name in self._empty}
        self._merged_bytes = 0
        self._waiting_bytes = 0

    @property
    def nbytes(self) -> int:
        """Bytes that are held."""
        return self._merged_bytes + self._waiting_bytes

    def add(self, states: States) -> None:
        """Adds the states of some rows."""
        for name, waiting in self._states.items():
            waiting.append(states[name])
        self._waiting_bytes += sum(each.nbytes for each in states.values())
        if self._merged_bytes <= _FEW_BYTES:
            if self._waiting_bytes > _FEW_BYTES:
                self.merged()
        elif self._waiting_bytes > _MANY_BYTES:
            release_unused_memory()
            self.merged()

    def merged(self) -> States:
        """Returns the states of all rows so far."""
        # The largest last: there is most room for it when the others take as little as they can.
        for name, waiting in sorted(self._states.items(), key=_held_bytes):
            if len(waiting) > 1:
                self._states[name] = [type(waiting[0]).merge(waiting)]
                waiting.clear()
        found = {
            name: waiting[0] if waiting else self._empty[name]
            for name, waiting in self._states.items()
        }
        self._merged_bytes = sum(each.nbytes for each in found.values())
        self._waiting_bytes = 0
        return found


def _held_bytes(item: tuple[str, list[State]]) -> int:
    return sum(each.nbytes for each in item[1])

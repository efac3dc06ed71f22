"""States of many batches, merged seldom enough to be cheap."""

from transforms.metrics.evaluation import Evaluation
from transforms.metrics.metric_family import States

_FEW_BYTES = 1 << 20


class Accumulator:
    """Adds up states; not safe for use by several threads.

    What was added waits until it is as large as what was merged, so each byte is merged a
    logarithmic number of times.
    """

    def __init__(self, evaluation: Evaluation) -> None:
        self._evaluation = evaluation
        self._merged = evaluation.create()
        self._waiting: list[States] = []
        self._merged_bytes = 0
        self._waiting_bytes = 0

    @property
    def nbytes(self) -> int:
        """Bytes that are held."""
        return self._merged_bytes + self._waiting_bytes

    def add(self, states: States) -> None:
        """Adds the states of some rows."""
        self._waiting.append(states)
        self._waiting_bytes += _nbytes(states)
        if self._waiting_bytes > max(self._merged_bytes, _FEW_BYTES):
            self.merged()

    def merged(self) -> States:
        """Returns the states of all rows so far."""
        if self._waiting:
            self._merged = self._evaluation.merge([self._merged, *self._waiting])
            self._merged_bytes = _nbytes(self._merged)
            self._waiting, self._waiting_bytes = [], 0
        return self._merged


def _nbytes(states: States) -> int:
    return sum(each.nbytes for each in states.values())

"""Which lengths are padded to which, so that batches have few distinct shapes and little padding."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from servable_core.errors import InvalidArgumentError

_FIRST = 16
_STEPS_PER_OCTAVE = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class LengthLadder:
    """Rounds lengths up to rungs.

    Without `rungs`: 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, ... , four to each doubling, which on
    average pads a row by a twelfth, whatever the lengths are.

    Attributes:
        rungs: The lengths to pad to, increasing; beyond the last, multiples of it. Empty: as above.
    """

    rungs: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        increases = all(a < b for a, b in pairwise(self.rungs))
        if not increases or (self.rungs and self.rungs[0] < 1):
            raise InvalidArgumentError(
                f"rungs of a length ladder must be 1 or more and increase, got {list(self.rungs)}"
            )

    def round_up(self, lengths: np.ndarray | Sequence[int]) -> np.ndarray:
        """Returns for each length the smallest rung that is not below it: int64, same shape."""
        values = np.asarray(lengths, np.int64)
        if self.rungs:
            return self._to_given(values)
        values = np.maximum(values, _FIRST)
        # frexp: values - 1 = m * 2**e with 0.5 <= m < 1, so 2**(e - 1) is the octave's first rung.
        _, exponents = np.frexp((values - 1).astype(np.float64))
        steps = np.left_shift(1, np.maximum(exponents.astype(np.int64) - 1, 0)) // _STEPS_PER_OCTAVE
        rounded: np.ndarray = -(-values // steps) * steps
        return rounded

    def rung(self, length: int) -> int:
        """Returns the smallest rung that is not below `length`."""
        return int(self.round_up([length])[0])

    def _to_given(self, values: np.ndarray) -> np.ndarray:
        rungs = np.asarray(self.rungs, np.int64)
        index = np.searchsorted(rungs, values)
        multiples = -(-values // rungs[-1]) * rungs[-1]
        return np.where(index < len(rungs), rungs[np.minimum(index, len(rungs) - 1)], multiples)

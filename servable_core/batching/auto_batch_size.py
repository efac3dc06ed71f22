"""The batch size that does most per second, found on live traffic: climbs a ladder, then freezes."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from servable_core.errors import InvalidArgumentError


@dataclass(frozen=True, kw_only=True, slots=True)
class CalibrationOptions:
    """How long each size is watched, and what counts as better.

    Attributes:
        window_secs: A rate is measured over at least this time,
        window_batches: and at least so many batches.
        num_windows: Windows per size; their median counts, so that one hiccup does not.
        num_settling_batches: Batches of a new size that pass before its first window.
        min_gain: How much better, in parts of one, another size must be to be preferred.
        max_batches_passed_over: After so many batches in a row that were not full, nobody can tell
            what this size does: what was measured until then decides.
    """

    window_secs: float = 0.1
    window_batches: int = 4
    num_windows: int = 3
    num_settling_batches: int = 4
    min_gain: float = 0.02
    max_batches_passed_over: int = 512

    def __post_init__(self) -> None:
        for name in ("window_batches", "num_windows", "max_batches_passed_over"):
            if getattr(self, name) < 1:
                raise InvalidArgumentError(f"{name} must be 1 or more, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchSizeReport:
    """What calibration has found.

    Attributes:
        size: The size in use.
        is_frozen: Whether it is final.
        curve: Rows (or cells) per second by size, of the sizes that were tried.
    """

    size: int
    is_frozen: bool
    curve: Mapping[int, float]


class AutoBatchSize:
    """Tells which size batches should have, and learns from those that were run.

    It measures the first size, then larger ones while they gain, else smaller ones while they gain;
    of those that are about as good as the best, it keeps the nearest to the first. Behind each other
    size it measures the first one again, and compares the two: what grows quicker or slower with
    time, as at the start of a job, is no merit of a size. Every batch is real work. Not
    thread-safe: its owner guards it. Time comes in with each batch.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        first: int,
        options: CalibrationOptions = CalibrationOptions(),
    ) -> None:
        """Starts at a size.

        Args:
            sizes: The ladder: increasing, not empty.
            first: The size to start with; the nearest rung that is not above it, or the lowest.
            options: How to measure.

        Raises:
            InvalidArgumentError: The ladder is empty or does not increase.
        """
        if not sizes or any(a >= b for a, b in pairwise(sizes)):
            raise InvalidArgumentError(f"batch sizes must be given and increase, got {list(sizes)}")
        self._sizes = list(sizes)
        self._options = options
        self._index = self._first_index = max(0, sum(size <= first for size in sizes) - 1)
        # Of the first size, when it was measured last; rows per second.
        self._first_rate: float | None = None
        self._other_rate: tuple[int, float] | None = None  # rung and rate since then
        self._scores: dict[int, float] = {}  # by size: its rate in parts of the first one's
        self._is_frozen = len(sizes) == 1
        self._restart()

    @property
    def size(self) -> int:
        """The size that batches should have now."""
        return self._sizes[self._index]

    @property
    def size_below(self) -> int:
        """The next smaller size of the ladder; 0 if there is none."""
        return self._sizes[self._index - 1] if self._index else 0

    @property
    def is_frozen(self) -> bool:
        """Whether the choice is final, apart from `limit`."""
        return self._is_frozen

    def report(self) -> BatchSizeReport:
        """Returns the choice and the curve behind it."""
        rate = self._first_rate or 0.0
        curve = {size: score * rate for size, score in self._scores.items()}
        return BatchSizeReport(size=self.size, is_frozen=self._is_frozen, curve=curve)

    def record(self, num_rows: int, secs: float, *, is_full: bool) -> None:
        """Learns from a batch.

        Args:
            num_rows: Its rows (or cells).
            secs: The time that it took: where batches run side by side, the time since the one
                before ended.
            is_full: Whether it had the size that batches should have. Another one is a tail, or was
                cut earlier: it counts as work done while the windows of this size run.
        """
        if self._is_frozen or (not is_full and self.pass_over()):
            return
        if is_full:
            self._num_passed_over = 0
        if self._num_settling:
            self._num_settling -= is_full
            return
        self._window_rows += num_rows
        self._window_secs += secs
        self._window_batches += is_full
        if self._is_window_full():
            self._window_rates.append(self._window_rows / max(self._window_secs, 1e-9))
            self._start_window()
        if len(self._window_rates) == self._options.num_windows:
            self._note_rate(statistics.median(self._window_rates))
            self._restart()

    def pass_over(self) -> bool:
        """Notes a batch that tells nothing of this size; returns whether its windows are given up.

        That is after many in a row. If other sizes were measured, the best of them is final.
        """
        self._num_passed_over += 1
        if self._num_passed_over < self._options.max_batches_passed_over:
            return False
        if self._measured():
            self._freeze()
        self._restart()
        return True

    def limit(self, max_size: int) -> None:
        """Never uses more than `max_size` again, or the lowest rung if that is more.

        Of what was measured, and is still allowed, the best is taken where the choice was final.
        """
        allowed = [size for size in self._sizes if size <= max_size] or self._sizes[:1]
        if len(allowed) == len(self._sizes):
            return
        self._sizes = allowed
        if self._is_frozen:
            if self._index >= len(allowed):
                self._index = self._preferred() if self._measured() else len(allowed) - 1
            return
        if self._other_rate is not None and self._other_rate[0] >= len(allowed):
            self._other_rate = None
        if self._first_index >= len(allowed):  # nothing is left to compare with
            self._first_index = len(allowed) - 1
            self._first_rate = self._other_rate = None
            self._scores = {}
        if self._index >= len(allowed):
            self._index = self._first_index
            self._restart()
        self._is_frozen = len(allowed) == 1

    def _note_rate(self, rate: float) -> None:
        """Learns the rate of the present size, and moves to the next one."""
        if self._index != self._first_index:
            self._other_rate = self._index, rate
            self._index = self._first_index
            return
        if self._other_rate is not None and self._first_rate is not None:
            other, other_rate = self._other_rate
            self._scores[self._sizes[other]] = 2 * other_rate / (self._first_rate + rate)
        self._scores[self.size] = 1.0
        self._first_rate, self._other_rate = rate, None
        self._climb()

    def _climb(self) -> None:
        """Moves to the next size to measure, or to the preferred one for good."""
        measured = self._measured()
        next_index = self._next_unmeasured(measured[0], measured[-1], self._preferred())
        if next_index is None:
            self._freeze()
        else:
            self._index = next_index

    def _freeze(self) -> None:
        self._index = self._preferred()
        self._is_frozen = True

    def _measured(self) -> list[int]:
        return [i for i, size in enumerate(self._sizes) if size in self._scores]

    def _preferred(self) -> int:
        """Returns the rung nearest to the first of those that are about as good as the best."""
        good = [i for i in self._measured() if not self._is_worse(i)]
        return min(good, key=lambda i: abs(i - self._first_index))

    def _next_unmeasured(self, lowest: int, highest: int, preferred: int) -> int | None:
        """Returns the rung to try next: above while that gains, then below while that gains.

        One rung that gains too little is not the end, for two may gain enough; one that loses is.
        """
        above, below = highest + 1, lowest - 1
        if above < len(self._sizes) and above - preferred <= 2 and not self._is_worse(highest):
            return above
        if below >= 0 and preferred - below <= 2 and not self._is_worse(lowest):
            return below
        return None

    def _is_worse(self, index: int) -> bool:
        """Whether the best size gains enough over this one to be preferred to it."""
        best = max(self._scores.get(size, 0.0) for size in self._sizes)
        return self._scores[self._sizes[index]] * (1 + self._options.min_gain) < best

    def _is_window_full(self) -> bool:
        options = self._options
        return (
            self._window_batches >= options.window_batches
            and self._window_secs >= options.window_secs
        )

    def _restart(self) -> None:
        self._num_passed_over = 0
        self._num_settling = self._options.num_settling_batches
        self._window_rates: list[float] = []
        self._start_window()

    def _start_window(self) -> None:
        self._window_rows = 0
        self._window_secs = 0.0
        self._window_batches = 0

"""How many batches may run at the same time, tuned by what the last ones showed."""

import math
from typing import Protocol

from typing_extensions import override

from servable_core.errors import InvalidArgumentError

_MIN_STEP = 1 / 128
_MAX_STEP = 1 / 8


class InFlightLimit(Protocol):
    """A number that learns. A state machine: its owner guards it."""

    @property
    def num_allowed(self) -> int:
        """Batches that may run now, 1 or more."""

    def record(self, measured: float, *, has_more: bool) -> None:
        """Learns from one processed batch.

        Args:
            measured: What this limit is tuned by.
            has_more: Whether another batch was due when this one ended.
        """


class LatencyTunedLimit(InFlightLimit):
    """Seeks the lowest average latency, which is taken to have one minimum over the limit.

    After every `batches_to_average_over` batches the limit moves by a fraction of itself: on in the
    same direction while latency falls, by larger and larger steps; back when it has risen, and then
    by smaller ones. The limit is not a whole number: of 2.25, every fourth batch makes it 3.

    Args:
        initial: Where the search starts.
        minimum: The lowest limit, 1 or more.
        maximum: The highest limit: the number of threads.
        batches_to_average_over: How many latencies one step is based on.
    """

    def __init__(
        self, *, initial: float, minimum: float, maximum: float, batches_to_average_over: int
    ) -> None:
        _check_range(initial, minimum, maximum)
        self._minimum = minimum
        self._maximum = maximum
        self._limit = initial
        self._num_allowed = math.floor(initial)
        self._remainder = 0.0  # what rounding down has kept back so far, below 1
        self._direction = 1
        self._step = _MAX_STEP
        self._average = _Average(batches_to_average_over)
        self._last_secs = math.inf
        self._was_better = True

    @property
    def limit(self) -> float:
        """The limit as a fractional number."""
        return self._limit

    @property
    @override
    def num_allowed(self) -> int:
        return self._num_allowed

    @override
    def record(self, measured: float, *, has_more: bool) -> None:
        average_secs = self._average.add(measured)
        if average_secs is not None:
            self._move(average_secs)
        self._round()

    def _move(self, average_secs: float) -> None:
        is_better = average_secs < self._last_secs
        if is_better:
            # Better twice in a row: this is the way. Better after a turn: it was only the way back.
            self._step *= 2 if self._was_better else 0.5
            self._step = min(max(self._step, _MIN_STEP), _MAX_STEP)
        else:
            self._direction = -self._direction
        self._limit *= 1 + self._direction * self._step
        self._limit = min(max(self._limit, self._minimum), self._maximum)
        self._last_secs = average_secs
        self._was_better = is_better

    def _round(self) -> None:
        total = self._limit + self._remainder
        self._num_allowed = math.floor(total)
        self._remainder = total - self._num_allowed


class PendingTunedLimit(InFlightLimit):
    """Keeps the number of batches that wait on a serial device near a target.

    After every `batches_to_average_over` batches the limit moves by the rounded difference of the
    target and the average. It stays when the load was low: when, after more than a tenth of the
    batches, no other was due.

    Args:
        target_pending: Batches that should wait on the device.
        initial: The first limit.
        maximum: The highest limit: the number of threads.
        batches_to_average_over: How many measurements one step is based on.
    """

    def __init__(
        self, *, target_pending: float, initial: int, maximum: float, batches_to_average_over: int
    ) -> None:
        _check_range(initial, 1, maximum)
        if not 0 <= target_pending < math.inf:
            raise InvalidArgumentError(
                f"target_pending must be finite and 0 or more, got {target_pending}"
            )
        self._target_pending = target_pending
        self._maximum = maximum
        self._limit = initial
        self._batches_to_average_over = batches_to_average_over
        self._average = _Average(batches_to_average_over)
        self._num_without_more = 0

    @property
    @override
    def num_allowed(self) -> int:
        return self._limit

    @override
    def record(self, measured: float, *, has_more: bool) -> None:
        self._num_without_more += not has_more
        average_pending = self._average.add(measured)
        if average_pending is None:
            return
        if self._num_without_more <= self._batches_to_average_over / 10:
            self._move(average_pending)
        self._num_without_more = 0

    def _move(self, average_pending: float) -> None:
        limit = self._limit + round(self._target_pending - average_pending)
        self._limit = int(min(max(limit, 1), self._maximum))


class _Average:
    """Averages every `num_samples` values anew."""

    def __init__(self, num_samples: int) -> None:
        if num_samples < 1:
            raise InvalidArgumentError(
                f"batches_to_average_over must be 1 or more, got {num_samples}"
            )
        self._num_samples = num_samples
        self._count = 0
        self._sum = 0.0

    def add(self, value: float) -> float | None:
        """Returns the average if `value` completes it."""
        self._count += 1
        self._sum += value
        if self._count < self._num_samples:
            return None
        average = self._sum / self._num_samples
        self._count, self._sum = 0, 0.0
        return average


def _check_range(initial: float, minimum: float, maximum: float) -> None:
    if not 1 <= minimum <= initial <= maximum:
        raise InvalidArgumentError(
            "limits of batches in flight must be 1 <= minimum <= initial <= num_batch_threads, got "
            f"minimum {minimum}, initial {initial}, num_batch_threads {maximum}"
        )

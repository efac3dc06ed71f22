"""Which rows of a batch fail, and how many fit into memory: found by running parts of it again.

A batch that fails is halved towards its first failing row, and what lies behind that row runs as
one again. A bad row among n thus costs at most log2(n) + 1 further runs, and no row is lost for the
fault of its neighbours. Where several rows in a row were bad, the next one is tried by itself: so a
batch in which all fail costs hardly more runs than it has rows.
"""

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from servable_core.errors import Code, ResourceExhaustedError, ServableCoreError

R = TypeVar("R")

# Bad rows one after another, behind which the next is tried by itself.
_MANY_BAD_ROWS = 4
# Errors that another selection of rows would meet as well.
_NOT_ABOUT_ROWS = frozenset(
    {
        Code.CANCELLED,
        Code.DEADLINE_EXCEEDED,
        Code.NOT_FOUND,
        Code.FAILED_PRECONDITION,
        Code.ABORTED,
        Code.UNAVAILABLE,
    }
)


@dataclass(slots=True)  # not frozen, which would make it ten times as slow to make
class Segment(Generic[R]):
    """Rows [start, stop) of a batch, and how they ended: with a result, or with an error.

    Attributes:
        start: First row.
        stop: The row behind the last.
        result: What running them returned; None if they failed.
        error: Why they failed; None if they did not.
        is_row_fault: Whether the error is that of this one row, and not of the whole call.
    """

    start: int
    stop: int
    result: R | None = None
    error: BaseException | None = None
    is_row_fault: bool = False


def run_isolated(
    run: Callable[[int, int, int], R],
    num_rows: int,
    max_rows: int,
    *,
    next_wanted: Callable[[int], int] = lambda row: row + 1,
    rounded_down: Callable[[int], int] = lambda num_rows: num_rows,
    first_error: BaseException | None = None,
) -> tuple[list[Segment[R]], int]:
    """Runs rows [0, num_rows) in as few calls as can be.

    Args:
        run: Given start, stop and the most rows of a call, padding included, runs rows [start, stop).
            `ResourceExhaustedError` and `MemoryError` mean that they are too many at once; other
            errors, that one of them is bad, except where the error says that it is not about rows.
        num_rows: Rows of the batch; with none, it is called for rows [0, 0).
        max_rows: Most rows of one call.
        next_wanted: Given a row that failed, where to go on; rows in between stay without a segment.
        rounded_down: Given the most rows that memory may allow, the most that calls should have.
        first_error: What running all rows at once has ended with, where it was tried.

    Returns:
        The segments in order, and the most rows of a call from now on: `max_rows`, or what was
        left of it when memory was exhausted. A row that exhausts memory by itself says nothing of
        others.
    """
    isolation = _Isolation(run, num_rows, max_rows, next_wanted, rounded_down)
    if first_error is not None:
        isolation.note(0, num_rows, first_error)
    elif not num_rows:
        isolation.run_next()
    while isolation.position < num_rows:
        isolation.run_next()
    return isolation.segments, isolation.max_rows


class _Isolation(Generic[R]):
    """The state of one batch. All rows before `position` are settled."""

    def __init__(
        self,
        run: Callable[[int, int, int], R],
        num_rows: int,
        max_rows: int,
        next_wanted: Callable[[int], int],
        rounded_down: Callable[[int], int],
    ) -> None:
        self._rounded_down = rounded_down
        self._run = run
        self._num_rows = num_rows
        self._next_wanted = next_wanted
        self._bad_stop: int | None = None  # rows [position, _bad_stop) are known to fail
        self._error: BaseException | None = None  # the one they failed with
        self._num_failures = 0  # since the last row that was found
        self._num_bad_in_a_row = 0
        self._given_max_rows = max_rows
        self.max_rows = max_rows
        self.position = 0
        self.segments: list[Segment[R]] = []

    def run_next(self) -> None:
        """Settles rows, or learns which are bad, or that a call may have fewer."""
        start, stop = self.position, self._next_stop()
        if self._is_found(start, stop):
            self._settle_bad_row(self._error)
            return
        try:
            result = self._run(start, stop, self.max_rows)
        except BaseException as error:  # noqa: BLE001 - the segments carry it to those who ask
            self.note(start, stop, error)
        else:
            self.settle(Segment(start, stop, result=result))

    def note(self, start: int, stop: int, error: BaseException) -> None:
        """Learns that running rows [start, stop) has failed."""
        if isinstance(error, (ResourceExhaustedError, MemoryError)):
            self._note_exhaustion(start, stop, error)
        elif isinstance(error, Exception):
            self._note_failure(start, stop, error)
        else:  # no reason to run more
            self._settle_rest(error)

    def _next_stop(self) -> int:
        limit = self.position + self.max_rows
        if self._bad_stop is None and self._num_bad_in_a_row >= _MANY_BAD_ROWS:
            return self.position + 1
        if self._bad_stop is None:
            return min(self._num_rows, limit)
        return min((self.position + self._bad_stop + 1) // 2, limit)

    def _is_found(self, start: int, stop: int) -> bool:
        """Whether row `start` is bad for sure: all else in a range that failed has succeeded.

        An error that was seen only once may have passed; then the row is to run alone.
        """
        is_last = self._bad_stop is not None and stop == self._bad_stop == start + 1
        return is_last and self._num_failures > 1

    def settle(self, segment: Segment[R]) -> None:
        self.segments.append(segment)
        self.position = segment.stop
        self._num_bad_in_a_row = 0
        if self._bad_stop is not None and self.position >= self._bad_stop:
            self._forget_failure()

    def _settle_bad_row(self, error: BaseException | None) -> None:
        row = self.position
        self.segments.append(Segment(row, row + 1, error=error, is_row_fault=True))
        self.position = self._next_wanted(row)
        self._num_bad_in_a_row += 1
        self._forget_failure()

    def _settle_rest(self, error: BaseException) -> None:
        self.segments.append(Segment(self.position, self._num_rows, error=error))
        self.position = self._num_rows

    def _note_exhaustion(self, start: int, stop: int, error: BaseException) -> None:
        _free_what_it_holds(error)
        if self._num_rows == 0:
            self._settle_rest(error)
        elif self.max_rows == 1:
            self.max_rows = self._given_max_rows
            self._settle_bad_row(error)
        else:  # a single row may have been padded with others: so it has to run once more
            self.max_rows = self._rounded_down(max(1, (stop - start) // 2))

    def _note_failure(self, start: int, stop: int, error: Exception) -> None:
        if not is_about_rows(error) or self._num_rows == 0:
            self._settle_rest(error)
        elif stop - start == 1:
            self._settle_bad_row(error)
        else:
            self._bad_stop, self._error = stop, error
            self._num_failures += 1

    def _forget_failure(self) -> None:
        self._bad_stop = self._error = None
        self._num_failures = 0


def _free_what_it_holds(error: BaseException | None) -> None:
    """Frees the variables of the calls that an error ended: the next try needs their memory."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def is_about_rows(error: Exception) -> bool:
    """Whether another selection of rows may not meet this error."""
    return not (isinstance(error, ServableCoreError) and error.code in _NOT_ABOUT_ROWS)

"""How many rows a batch may have: as configured, as calibrated, and as memory allows."""

import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from servable_core.batching.auto_batch_size import (
    AutoBatchSize,
    BatchSizeReport,
    CalibrationOptions,
)
from servable_core.errors import InvalidArgumentError

_UNBOUNDED = sys.maxsize
_NOT_RAGGED = 0
_MEMORY_CHECK_SECS = 0.5
_MEMORY_RELIEF_SECS = 5.0
# How often the batches of a length are halved: those of a sixteenth are not what fills memory.
_MAX_RELIEFS = 4
# A batch that comes later than so many runs behind the one before has come after a pause.
_LONGEST_WAIT_RUNS = 10
# Readers cut files into batches that are half full or more, and rather pass on than copy.
_NEARLY_FULL = 0.5
# Few shapes, and yet little work for a short tail: it is padded to an eighth, or to the whole.
_TAIL_FRACTION = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """A batch size to be found by measuring.

    Attributes:
        sizes: Those to choose from, increasing: rows, or cells where inputs are ragged.
        first: The size to start with.
        options: How to measure.
    """

    sizes: tuple[int, ...]
    first: int
    options: CalibrationOptions = CalibrationOptions()  # noqa: RUF009 - frozen


@dataclass(frozen=True, kw_only=True, slots=True)
class SizingOptions:
    """Bounds of a batch.

    Attributes:
        max_batch_size: Most rows.
        max_batch_cells: Most rows times padded length, for ragged inputs; None for no bound. A
            single row may have more.
        allowed_batch_sizes: Sizes to pad to; empty for any.
        calibration: None where the size is given.
    """

    max_batch_size: int
    max_batch_cells: int | None = None
    allowed_batch_sizes: tuple[int, ...] = ()
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        if self.max_batch_cells is not None and self.max_batch_cells < 1:
            raise InvalidArgumentError(
                f"max_batch_cells must be 1 or more, got {self.max_batch_cells}"
            )


class BatchSizing:
    """The sizes of one session's batches; thread-safe.

    Lengths are those that rows are padded to; 0 stands for inputs that are not ragged. With ragged
    inputs, calibration watches the batches of one length, the first that is `probed`, and the
    others follow when it has come to an end: so the shapes stay few. If no more full batches of
    that length come before anything was measured, it watches another one.
    """

    def __init__(self, options: SizingOptions, is_memory_short: Callable[[], bool]) -> None:
        self._options = options
        self._is_memory_short = is_memory_short
        self._lock = threading.Lock()
        calibration = options.calibration
        self._first_size = calibration.first if calibration else 0
        # All below: guarded by _lock, but for looks at one value, of which a late one does no harm.
        self._auto = (
            AutoBatchSize(calibration.sizes, calibration.first, calibration.options)
            if calibration
            else None
        )
        self._probed_length: int | None = None
        self._ceilings: dict[int, int] = {}  # Rows that memory allows, by length.
        self._targets: dict[int, int] = {}  # What was computed since the last change, by length.
        self._listed: dict[int, set[int]] = {}  # Rows to pad to, by length.
        self._num_reliefs: dict[int, int] = {}  # By length.
        self._last_end_secs: float | None = None
        self._next_check_secs = 0.0

    def probe(self, length: int) -> None:
        """Has calibration watch the batches of this length, unless it watches others already."""
        with self._lock:
            if self._probed_length is None:
                self._probed_length = length
                self._targets = {}

    def target_rows(self, length: int) -> int:
        """Returns the rows that batches of this length should have now; 1 or more."""
        target = self._targets.get(length)
        if target is not None:
            return target
        with self._lock:
            return self._target_locked(length)

    def max_rows(self, length: int) -> int:
        """Returns the most rows of one model call of this length."""
        return self._ceilings.get(length, _UNBOUNDED)

    def allowed_rows(self, num_rows: int) -> int:
        """Returns the largest allowed size up to `num_rows`; where there is none, `num_rows`."""
        allowed = self._options.allowed_batch_sizes
        return max((size for size in allowed if size <= num_rows), default=num_rows)

    def usual_slots(self, num_rows: int, now: float) -> int | None:
        """Returns the rows that a batch which is not ragged could have; to be called before each.

        None for a batch that has to be padded to a size, or cut.
        """
        if now >= self._next_check_secs:
            self.relieve_memory(_NOT_RAGGED, now)
        if self._options.allowed_batch_sizes or num_rows > self.max_rows(_NOT_RAGGED):
            return None
        return max(num_rows, self.target_rows(_NOT_RAGGED))

    def padded_rows(
        self, num_rows: int, length: int, max_rows: int, *, wants_few_shapes: bool = True
    ) -> int:
        """Returns the rows that a call with `num_rows` rows of this length should have.

        No more than `max_rows`, if they have not more themselves: padding must not be what
        exhausts memory.

        Args:
            num_rows: Rows that it has.
            length: What they are padded to; 0 if they are not ragged.
            max_rows: Most rows of a call.
            wants_few_shapes: Whether more rows make the shape a common one, where no sizes are given.
        """
        sizes: Sequence[int] = self._options.allowed_batch_sizes
        if not num_rows or not (sizes or (length and wants_few_shapes)):
            return num_rows
        if sizes and length:  # where the bound is one of cells, an allowed size may be beyond it
            max_rows = min(max_rows, self.target_rows(length))
        sizes = sizes or self._listed_sizes(length)
        return next((size for size in sizes if num_rows <= size <= max_rows), num_rows)

    def _listed_sizes(self, length: int) -> list[int]:
        """Returns the sizes for this length, increasing: those of earlier targets, too.

        A batch that was formed before the target grew is not padded to the new one.
        """
        with self._lock:
            target = self._target_locked(length)
            listed = self._listed.setdefault(length, set())
            listed |= {-(-target // _TAIL_FRACTION), target}
            return sorted(listed)

    def record(self, num_rows: int, length: int, run_secs: float, now: float) -> None:
        """Learns from a model call that succeeded and ended `now`."""
        auto = self._auto
        if auto is None or auto.is_frozen:
            return
        with self._lock:
            last, self._last_end_secs = self._last_end_secs, now
            if last is None:
                return
            target = self._target_locked(length)
            if not length:
                # Files end where they end: what is nearly full tells as much. But what was formed
                # for the size below, and still waited when the size changed, tells nothing.
                least = max(auto.size_below, _NEARLY_FULL * target)
                is_full = num_rows == target or least < num_rows < target
                # Waiting for rows counts: what reads them may share the cores. A pause does not.
                secs = min(now - last, _LONGEST_WAIT_RUNS * run_secs)
                auto.record(num_rows, secs, is_full=is_full)
            elif num_rows == target and length == self._probed_length:
                auto.record(num_rows * length, run_secs, is_full=True)
            elif auto.pass_over():
                self._probed_length = None  # its rows do not come any more
            self._targets = {}

    def note_ceiling(self, length: int, num_rows: int) -> None:
        """Remembers that memory allows no more than `num_rows` rows of this length."""
        with self._lock:
            ceiling = self._ceilings[length] = min(num_rows, self._ceilings.get(length, num_rows))
            if self._auto is not None and length in (_NOT_RAGGED, self._probed_length):
                self._auto.limit(ceiling * max(1, length))
            self._targets = {}

    def relieve_memory(self, length: int, now: float) -> None:
        """Halves the batches of a length if memory is short; to be called before each of them.

        It takes a while until that shows, so it is not done again at once. Nor is it done without
        end: where memory stays short all the same, something else than batches has it.
        """
        with self._lock:  # of two threads, one checks
            if now < self._next_check_secs:
                return
            self._next_check_secs = now + _MEMORY_CHECK_SECS
        num_rows = self.target_rows(length)
        may_halve = num_rows > 1 and self._num_reliefs.get(length, 0) < _MAX_RELIEFS
        if may_halve and self._is_memory_short():
            with self._lock:
                self._next_check_secs = now + _MEMORY_RELIEF_SECS
                self._num_reliefs[length] = self._num_reliefs.get(length, 0) + 1
            self.note_ceiling(length, num_rows // 2)

    def report(self) -> BatchSizeReport | None:
        """Returns what calibration has found; None where the size is given."""
        with self._lock:
            return self._auto.report() if self._auto else None

    @property
    def ceiling(self) -> int | None:
        """The fewest rows that memory was found to allow, of any length; None if it never failed."""
        with self._lock:
            return min(self._ceilings.values(), default=None)

    def _target_locked(self, length: int) -> int:
        if length not in self._targets:
            self._targets[length] = self._compute_target_locked(length)
        return self._targets[length]

    def _compute_target_locked(self, length: int) -> int:
        options = self._options
        rows = options.max_batch_size
        cells = options.max_batch_cells
        if self._auto is not None and not length:
            rows = min(rows, self._auto.size)
        if self._auto is not None and length:
            is_probed = self._auto.is_frozen or length == self._probed_length
            cells = self._auto.size if is_probed else self._first_size
        if length and cells is not None:
            rows = min(rows, max(1, cells // length))
        rows = min(rows, self._ceilings.get(length, rows))
        return self.allowed_rows(rows)

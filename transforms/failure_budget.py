"""How many records may fail before a job is stopped."""

from dataclasses import dataclass

from servable_core.errors import FailedPreconditionError, InvalidArgumentError

# Before so many rows a fraction says little.
_MIN_ROWS = 1000


class TooManyFailuresError(FailedPreconditionError):
    """More records failed than may: the job is stopped."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FailureBudget:
    """Bounds of what may fail.

    Attributes:
        max_failed_fraction: Of the records read, between 0 and 1.
        max_failed_rows: Records; None for no bound.
    """

    max_failed_fraction: float = 1.0
    max_failed_rows: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.max_failed_fraction <= 1:
            raise InvalidArgumentError(
                f"--max_failed_fraction must be between 0 and 1, got {self.max_failed_fraction}"
            )
        if self.max_failed_rows is not None and self.max_failed_rows < 0:
            raise InvalidArgumentError(
                f"--max_failed_rows must be 0 or more, got {self.max_failed_rows}"
            )

    def check(self, rows_failed: int, rows_read: int, *, is_final: bool) -> None:
        """Checks what one worker has seen so far, or at the end, what the whole job has.

        Raises:
            TooManyFailuresError: Too many records failed; the job is not worth its time.
        """
        if self.max_failed_rows is not None and rows_failed > self.max_failed_rows:
            raise TooManyFailuresError(
                f"{rows_failed:,} records failed, more than --max_failed_rows={self.max_failed_rows} allows; see _dead_letters"
            )
        is_telling = is_final or rows_read >= _MIN_ROWS
        if is_telling and rows_failed > self.max_failed_fraction * rows_read:
            raise TooManyFailuresError(
                f"{rows_failed:,} of {rows_read:,} records failed, more than --max_failed_fraction={self.max_failed_fraction:g} allows; see _dead_letters"
            )

"""Which rows can be evaluated, and what is wrong with the others, counted.

A row counts for all versions or for none: a version that fails on hard rows must not look better
for it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from servable_core.errors import InvalidArgumentError
from transforms.metrics.array_types import Booleans, Floats
from transforms.metrics.counters import Counters
from transforms.metrics.evaluation_batch import EvaluationBatch
from transforms.metrics.key_layout import KeyLayout
from transforms.metrics.slice_columns import SliceColumn

MAX_WEIGHT = 2.0**20
# The square of its square still has a place in a sum; see fixed_point.
MAX_NUMBER = 2.0**26
ROW_COUNTS = (
    "rows",
    "valid_rows",
    "missing_labels",
    "bad_labels",
    "bad_weights",
    "nan_scores",
    "out_of_range_scores",
)


class _Flagged(NamedTuple):
    """Rows with something to count.

    Attributes:
        place: Of the count among `ROW_COUNTS`.
        versions: Whose count it is.
        rows: Which rows; None for all.
    """

    place: int
    versions: range
    rows: Booleans | None


@dataclass(frozen=True, kw_only=True, slots=True)
class RowChecks:
    """What a row must be like.

    Attributes:
        num_versions: Versions.
        num_blocks: Blocks of the jackknife.
        max_label: Labels are whole numbers from 0 to it; None for any number.
        is_probability: Whether scores lie between 0 and 1.
        is_labelled: Whether rows have labels.
        is_weighted: Whether rows have weights.
    """

    num_versions: int
    num_blocks: int
    max_label: int | None
    is_probability: bool
    is_labelled: bool
    is_weighted: bool

    @property
    def layout(self) -> KeyLayout:
        """The cells of the counts."""
        return KeyLayout(names=("slice", "version"), sizes=(self.num_versions,))

    def create(self) -> Counters:
        """Returns the counts of no rows."""
        none = np.zeros(0, dtype=np.int64)
        counts = np.zeros((0, len(ROW_COUNTS)), dtype=np.int64)
        return Counters.of_rows(self.layout, ROW_COUNTS, none, counts)

    def check(self, batch: EvaluationBatch) -> tuple[EvaluationBatch, Counters]:
        """Returns the rows that can be evaluated, and the counts of all.

        Raises:
            InvalidArgumentError: The batch has other columns than the options say.
        """
        self._check_columns(batch)
        faults = self._faults(batch)
        is_valid = np.ones(batch.num_rows, dtype=bool)
        for each in faults.values():
            is_valid &= ~(each if each.ndim == 1 else each.any(axis=0))
        flags: dict[str, Booleans] = {"valid_rows": is_valid, **faults}
        return batch.where(is_valid), self._count(batch, flags)

    def _check_columns(self, batch: EvaluationBatch) -> None:
        if batch.num_versions != self.num_versions:
            raise InvalidArgumentError(
                f"expected predictions of {self.num_versions} versions, got {batch.num_versions}"
            )
        if batch.num_rows and not 0 <= batch.blocks.min() <= batch.blocks.max() < self.num_blocks:
            raise InvalidArgumentError(
                f"blocks must be from 0 to {self.num_blocks - 1}, got {batch.blocks.min()} to {batch.blocks.max()}; deal rows to as many blocks as the options say"
            )
        for name, is_expected in (("labels", self.is_labelled), ("weights", self.is_weighted)):
            is_given = getattr(batch, name) is not None
            if is_given != is_expected:
                raise InvalidArgumentError(
                    f"expected {'' if is_expected else 'no '}{name}, got {'some' if is_given else 'none'}; let the options of the evaluation say so"
                )

    def _faults(self, batch: EvaluationBatch) -> dict[str, Booleans]:
        """Returns by name what is wrong, [rows] or [versions, rows]."""
        numbers = batch.predictions
        low, high = (0.0, 1.0) if self.is_probability else (-MAX_NUMBER, MAX_NUMBER)
        found: dict[str, Booleans] = {}
        if not _are_within(numbers, low, high):
            is_nan: Booleans = np.isnan(numbers)
            is_outside: Booleans = (numbers < low) | (numbers > high)
            if numbers.ndim == 3:
                is_nan = np.logical_or.reduce(is_nan, axis=2)
                is_outside = np.logical_or.reduce(is_outside, axis=2)
            found |= {"nan_scores": is_nan, "out_of_range_scores": is_outside}
        if batch.labels is not None:
            found["missing_labels"] = np.isnan(batch.labels)
            found["bad_labels"] = self._is_bad_label(batch.labels)
        if batch.weights is not None:
            found["bad_weights"] = ~((batch.weights >= 0) & (batch.weights <= MAX_WEIGHT))
        return found

    def _is_bad_label(self, labels: Floats) -> Booleans:
        if self.max_label is None:
            return np.abs(labels) > MAX_NUMBER
        is_whole = np.isnan(labels) | (labels == np.floor(labels))
        return (labels < 0) | (labels > self.max_label) | ~is_whole

    def _count(self, batch: EvaluationBatch, flags: dict[str, Booleans]) -> Counters:
        flagged = [found for each in flags.items() for found in self._flagged(*each)]
        parts = [self._count_column(each, flagged) for each in batch.slices]
        return Counters.merge([self.create(), *parts])

    def _flagged(self, name: str, flag: Booleans) -> Iterator[_Flagged]:
        """Yields which rows have a flag, if any has."""
        place = ROW_COUNTS.index(name)
        if flag.ndim == 1:
            if flag.any():
                yield _Flagged(place, range(self.num_versions), None if flag.all() else flag)
            return
        for version, of_version in enumerate(flag):
            if of_version.any():
                yield _Flagged(place, range(version, version + 1), of_version)

    def _count_column(self, column: SliceColumn, flagged: Sequence[_Flagged]) -> Counters:
        slices = column.ids.size
        counts = np.zeros((slices, self.num_versions, len(ROW_COUNTS)), dtype=np.int64)
        counts[:, :, ROW_COUNTS.index("rows")] = column.sizes[:, None]
        for place, versions, rows in flagged:
            numbers = column.sizes
            if rows is not None:
                numbers = np.bincount(column.places[rows[column.rows]], minlength=slices)
            for version in versions:
                counts[:, version, place] = numbers
        keys = self.layout.pack(
            np.repeat(column.ids, self.num_versions),
            np.tile(np.arange(self.num_versions), slices),
        )
        return Counters.of_rows(
            self.layout, ROW_COUNTS, keys, counts.reshape(keys.size, len(ROW_COUNTS))
        )


def _are_within(numbers: Floats, low: float, high: float) -> bool:
    """Returns whether all numbers are, as nearly always; NaN is not."""
    return not numbers.size or bool(low <= numbers.min() and numbers.max() <= high)

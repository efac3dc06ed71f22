"""Which rows can be evaluated, and what is wrong with the others, counted.

A row counts for all versions or for none: a version that fails on hard rows must not look better
for it.
"""

from dataclasses import dataclass

import numpy as np

from servable_core.errors import InvalidArgumentError
from transforms.metrics.array_types import Booleans, Floats
from transforms.metrics.counters import Counters
from transforms.metrics.evaluation_batch import EvaluationBatch
from transforms.metrics.key_layout import KeyLayout

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


@dataclass(frozen=True, kw_only=True, slots=True)
class RowChecks:
    """What a row must be like.

    Attributes:
        num_versions: Versions.
        max_label: Labels are whole numbers from 0 to it; None for any number.
        is_probability: Whether scores lie between 0 and 1.
        is_labelled: Whether rows have labels.
        is_weighted: Whether rows have weights.
    """

    num_versions: int
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
        found = self._faults(batch)
        is_valid: Booleans = np.logical_not(found.any(axis=(0, 1)))
        everything = np.ones((1, *found.shape[1:]), dtype=bool)
        flags = np.concatenate([everything, everything & is_valid, found])
        return batch.where(is_valid), self._count(batch, flags)

    def _check_columns(self, batch: EvaluationBatch) -> None:
        if batch.num_versions != self.num_versions:
            raise InvalidArgumentError(
                f"expected predictions of {self.num_versions} versions, got {batch.num_versions}"
            )
        for name, is_expected in (("labels", self.is_labelled), ("weights", self.is_weighted)):
            is_given = getattr(batch, name) is not None
            if is_given != is_expected:
                raise InvalidArgumentError(
                    f"expected {'' if is_expected else 'no '}{name}, got {'some' if is_given else 'none'}; let the options of the evaluation say so"
                )

    def _faults(self, batch: EvaluationBatch) -> Booleans:
        """Returns what is wrong, [faults, versions, rows]."""
        numbers = batch.predictions
        numbers = numbers if numbers.ndim == 3 else numbers[:, :, None]
        is_nan = np.isnan(numbers).any(axis=2)
        limits = (0.0, 1.0) if self.is_probability else (-MAX_NUMBER, MAX_NUMBER)
        is_outside = ((numbers < limits[0]) | (numbers > limits[1])).any(axis=2)
        none = np.zeros(batch.num_rows, dtype=bool)
        labels = none.astype(np.float64) if batch.labels is None else batch.labels
        is_missing = np.isnan(labels)
        weights = batch.row_weights()
        is_bad_weight = ~((weights >= 0) & (weights <= MAX_WEIGHT))
        faults = (is_missing, self._is_bad_label(labels), is_bad_weight, is_nan, is_outside)
        return np.stack([np.broadcast_to(each, is_nan.shape) for each in faults])

    def _is_bad_label(self, labels: Floats) -> Booleans:
        if self.max_label is None:
            return np.abs(labels) > MAX_NUMBER
        return (labels < 0) | (labels > self.max_label) | (labels % 1 != 0) & ~np.isnan(labels)

    def _count(self, batch: EvaluationBatch, flags: Booleans) -> Counters:
        rows, slices = batch.memberships()
        versions = np.arange(batch.num_versions)
        keys = self.layout.pack(np.repeat(slices, versions.size), np.tile(versions, slices.size))
        counts = (
            flags[:, :, rows]
            .transpose(2, 1, 0)
            .reshape(keys.size, len(ROW_COUNTS))
            .astype(np.int64)
        )
        return Counters.of_rows(self.layout, ROW_COUNTS, keys, counts)

"""Rows that were predicted by several versions, as columns."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pyarrow as pa

from servable_core.errors import InvalidArgumentError
from transforms.metrics.array_types import Booleans, Floats, Integers

NO_SLICE = -1


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EvaluationBatch:
    """Rows, their predictions by each version, and the slices that they are in.

    Attributes:
        predictions: [versions, rows] or [versions, rows, classes]; version 0 is the baseline.
        slice_ids: [rows, slices of a row]; slice 0 is all rows by convention, and `NO_SLICE`
            fills up. A row is in a slice at most once. All workers number slices alike.
        blocks: Of the jackknife, by a hash of each row's key; see `key_blocks`.
        labels: [rows], NaN where missing; None for data without labels.
        weights: [rows]; None for 1.
        example_keys: [rows], any type; None where rows need no name.
    """

    predictions: Floats
    slice_ids: Integers
    blocks: Integers
    labels: Floats | None = None
    weights: Floats | None = None
    example_keys: pa.Array | None = None

    def __post_init__(self) -> None:
        optional = (self.labels, self.weights, self.example_keys)
        lengths = {len(each) for each in optional if each is not None}
        lengths |= {self.predictions.shape[1], len(self.slice_ids), len(self.blocks)}
        if len(lengths) != 1:
            raise InvalidArgumentError(
                f"a batch's columns must have one length, got {sorted(lengths)}"
            )

    @property
    def num_rows(self) -> int:
        """Rows."""
        return int(self.predictions.shape[1])

    @property
    def num_versions(self) -> int:
        """Versions."""
        return int(self.predictions.shape[0])

    def row_weights(self) -> Floats:
        """Returns the weights, 1 where there are none."""
        if self.weights is None:
            return np.ones(self.num_rows)
        return self.weights.astype(np.float64)

    def known_labels(self) -> Floats:
        """Returns the labels.

        Raises:
            InvalidArgumentError: The data has none.
        """
        if self.labels is None:
            raise InvalidArgumentError("a metric needs labels; name the label column")
        return self.labels

    def memberships(self) -> tuple[Integers, Integers]:
        """Returns the rows of all slices, one after another, and the slice of each."""
        rows, columns = np.nonzero(self.slice_ids != NO_SLICE)
        return rows, self.slice_ids[rows, columns].astype(np.int64)

    def where(self, is_kept: Booleans) -> Self:
        """Returns the batch of some of the rows."""
        if is_kept.all():
            return self
        return replace(
            self,
            predictions=self.predictions[:, is_kept],
            slice_ids=self.slice_ids[is_kept],
            blocks=self.blocks[is_kept],
            labels=None if self.labels is None else self.labels[is_kept],
            weights=None if self.weights is None else self.weights[is_kept],
            example_keys=None
            if self.example_keys is None
            else self.example_keys.filter(pa.array(is_kept)),
        )

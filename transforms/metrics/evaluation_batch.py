"""Rows that were predicted by several versions, as columns."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
import pyarrow as pa

from servable_core.errors import InvalidArgumentError
from transforms.metrics.array_types import Booleans, Floats, Integers
from transforms.metrics.fixed_point import FRACTIONAL_BITS
from transforms.metrics.float_bins import Bits, to_ordered_bits
from transforms.metrics.key_blocks import Hashes
from transforms.metrics.slice_columns import SliceColumns, slice_columns

# Rows of which a dozen columns of numbers stay in the processor's cache.
_CHUNK_ROWS = 1 << 15
# The least multiple of what weights are rounded to.
_LEAST_WEIGHT = 2.0**-FRACTIONAL_BITS


@dataclass(frozen=True, kw_only=True, eq=False)
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
        key_hashes: [rows], of `hash_keys`; None where nothing counts the keys.
    """

    predictions: Floats
    slice_ids: Integers
    blocks: Integers
    labels: Floats | None = None
    weights: Floats | None = None
    example_keys: pa.Array | None = None
    key_hashes: Hashes | None = None

    def __post_init__(self) -> None:
        optional = (self.labels, self.weights, self.example_keys, self.key_hashes)
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

    @cached_property
    def slices(self) -> SliceColumns:
        """The slices of all rows."""
        return slice_columns(self.slice_ids)

    @cached_property
    def with_weight(self) -> Self:
        """The batch of the rows whose weight is not rounded to 0."""
        return self if self.weights is None else self.where(self.weights >= _LEAST_WEIGHT)

    @cached_property
    def ordered_scores(self) -> Bits:
        """The predictions of one number each, by their ordered bits, [versions, rows]."""
        found = np.empty(self.predictions.shape, dtype=np.uint32)
        for start, chunk in self.chunks():
            found[:, start : start + chunk.num_rows] = to_ordered_bits(chunk.predictions)
        return found

    @cached_property
    def ordered_differences(self) -> Bits:
        """By how much candidates' predictions differ, by ordered bits, [versions - 1, rows]."""
        found = np.empty((self.num_versions - 1, self.num_rows), dtype=np.uint32)
        for start, chunk in self.chunks():
            for version in range(1, self.num_versions):
                differences = to_ordered_bits(chunk.absolute_differences(version))
                found[version - 1, start : start + chunk.num_rows] = differences
        return found

    def absolute_differences(self, version: int) -> Floats:
        """Returns by how much a version's predictions differ from the baseline's, [rows].

        Of several classes the one that differs most counts.
        """
        differences = self.predictions[version].astype(np.float64)
        differences -= self.predictions[0]
        np.abs(differences, out=differences)
        return differences if differences.ndim == 1 else differences.max(axis=1)

    def chunks(self) -> Iterator[tuple[int, Self]]:
        """Yields parts of the batch and where each starts, without copying."""
        for start in range(0, self.num_rows, _CHUNK_ROWS):
            yield start, self._taken(slice(start, start + _CHUNK_ROWS))

    def where(self, is_kept: Booleans) -> Self:
        """Returns the batch of some of the rows."""
        if is_kept.all():
            return self
        return self._taken(is_kept)

    def at(self, rows: Integers) -> Self:
        """Returns the batch of the rows at some places."""
        return self._taken(rows)

    def _taken(self, rows: slice | Integers | Booleans) -> Self:
        keys = self.example_keys
        if keys is not None:
            keys = keys[rows] if isinstance(rows, slice) else _picked(keys, rows)
        return replace(
            self,
            predictions=self.predictions[:, rows],
            slice_ids=self.slice_ids[rows],
            blocks=self.blocks[rows],
            labels=None if self.labels is None else self.labels[rows],
            weights=None if self.weights is None else self.weights[rows],
            example_keys=keys,
            key_hashes=None if self.key_hashes is None else self.key_hashes[rows],
        )


def _picked(keys: pa.Array, rows: Integers | Booleans) -> pa.Array:
    return keys.filter(pa.array(rows)) if rows.dtype == bool else keys.take(pa.array(rows))

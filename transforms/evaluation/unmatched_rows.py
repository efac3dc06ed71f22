"""Saved rows of versions that the baseline lacks, counted: nothing is compared with them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from transforms.metrics.counters import Counters
from transforms.metrics.estimate import Estimate
from transforms.metrics.evaluation_batch import EvaluationBatch
from transforms.metrics.key_layout import KeyLayout
from transforms.metrics.metric_family import MetricValue, States

_STATE = "matched_rows"
_ALL_ROWS = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class UnmatchedRows:
    """A family that counts the rows found of each version; the others are told to be unmatched.

    Attributes:
        num_saved_rows: Rows that were saved of each version.
    """

    num_saved_rows: tuple[int, ...]

    def create(self) -> States:
        """Returns the counts of no rows."""
        return self.of_found([0] * len(self.num_saved_rows))

    def update(self, batch: EvaluationBatch) -> States:  # noqa: ARG002 - part of the protocol
        """Returns the counts of no rows: a batch does not tell which were found."""
        return self.create()

    def of_found(self, num_found: Sequence[int]) -> States:
        """Returns the counts of rows that were found of each version."""
        counts = np.array(num_found, dtype=np.int64)[:, None]
        cells = np.arange(len(self.num_saved_rows), dtype=np.int64)
        return {_STATE: Counters.of_rows(self._layout, ("matched",), cells, counts)}

    def finalise(self, states: Mapping[str, Any], slice_id: int) -> Iterator[MetricValue]:
        """Yields `unmatched_rows` of each version, of all rows: which slices they are in is unknown."""
        if slice_id != _ALL_ROWS:
            return
        found = states[_STATE].dense(_ALL_ROWS)[:, 0]
        for version, num_rows in enumerate(self.num_saved_rows):
            yield MetricValue(
                metric="unmatched_rows",
                slice_id=_ALL_ROWS,
                version=version,
                estimate=Estimate(value=float(num_rows - found[version])),
            )

    @property
    def _layout(self) -> KeyLayout:
        return KeyLayout(names=("slice", "version"), sizes=(len(self.num_saved_rows),))

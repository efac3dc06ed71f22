"""The rows on which versions differ most, with their keys."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.metrics import state
from transforms.metrics.array_types import Floats
from transforms.metrics.evaluation_batch import EvaluationBatch
from transforms.metrics.metric_family import MetricValue, States

_SCHEMA = pa.schema(
    [
        ("slice", pa.int64()),
        ("version", pa.int64()),
        ("difference", pa.float64()),
        ("key", pa.string()),
        ("label", pa.float64()),
        ("baseline", pa.float64()),
        ("prediction", pa.float64()),
    ]
)
# Every column takes part, so equal rows are interchangeable and the order is one.
_ORDER = [(name, "descending" if name == "difference" else "ascending") for name in _SCHEMA.names]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TopRows:
    """The rows with the largest differences, for each slice and version.

    Attributes:
        max_rows: How many are kept of each.
        rows: Sorted: by slice, version, and the largest difference first; then by key.
    """

    max_rows: int
    rows: pa.Table

    @classmethod
    def of_rows(cls, max_rows: int, rows: pa.Table) -> Self:
        """Returns the first of `rows` for each slice and version."""
        in_order = rows.sort_by(_ORDER).combine_chunks()
        groups = np.stack([in_order["slice"].to_numpy(), in_order["version"].to_numpy()])
        is_first = np.r_[True, (groups[:, 1:] != groups[:, :-1]).any(axis=0)][: len(in_order)]
        places = np.arange(len(in_order))
        starts = np.maximum.accumulate(np.where(is_first, places, 0))
        return cls(max_rows=max_rows, rows=in_order.filter(pa.array(places - starts < max_rows)))

    @classmethod
    def empty(cls, max_rows: int) -> Self:
        """Returns none of no rows."""
        return cls(max_rows=max_rows, rows=_SCHEMA.empty_table())

    @classmethod
    def merge(cls, states: Iterable[Self]) -> Self:
        """Returns the first of the rows of all states; see `State`."""
        found = state.at_least_one(states)
        max_rows = state.only((each.max_rows for each in found), "number of rows")
        return cls.of_rows(max_rows, pa.concat_tables([each.rows for each in found]))

    @property
    def nbytes(self) -> int:
        """Bytes that the state holds."""
        return int(self.rows.nbytes)

    def to_table(self) -> pa.Table:
        """Returns the state as a table; equal states give equal tables."""
        said = {state.VERSION_KEY: str(state.SCHEMA_VERSION), "kind": "top_rows"}
        return state.redescribed(self.rows, {**said, "max_rows": str(self.max_rows)})

    @classmethod
    def from_table(cls, table: pa.Table) -> Self:
        """Returns the state of which `table` was made.

        Raises:
            DataLossError: It was made of no such state.
        """
        said = state.described(table, "top_rows")
        return cls.of_rows(int(said["max_rows"]), table.replace_schema_metadata(None))


@dataclass(frozen=True, kw_only=True, slots=True)
class MostDifferent:
    """A family that keeps the rows whose predictions differ most from the baseline's.

    Attributes:
        name: Of the state, whose rows the report shows; there are no metrics.
        max_rows: Rows for each slice and version.
    """

    name: str
    max_rows: int = 20

    def create(self) -> States:
        """Returns none of no rows."""
        return {self.name: TopRows.empty(self.max_rows)}

    def update(self, batch: EvaluationBatch) -> States:
        """Returns the rows of a batch that differ most."""
        rows, slices = batch.memberships()
        numbers, differences = headline_numbers(batch), absolute_differences(batch)
        nothing = pa.nulls(batch.num_rows, pa.string())
        keys = nothing if batch.example_keys is None else batch.example_keys.cast(pa.string())
        labels = np.full(batch.num_rows, np.nan) if batch.labels is None else batch.labels
        parts = [
            pa.table(
                [
                    slices,
                    np.full(rows.size, version),
                    differences[version, rows],
                    pc.take(keys, pa.array(rows)),
                    labels[rows].astype(np.float64),
                    numbers[0, rows],
                    numbers[version, rows],
                ],
                schema=_SCHEMA,
            )
            for version in range(1, batch.num_versions)
        ]
        everything = pa.concat_tables(parts or [_SCHEMA.empty_table()])
        return {self.name: TopRows.of_rows(self.max_rows, everything)}

    def finalise(
        self,
        states: Mapping[str, Any],  # noqa: ARG002 - part of the protocol
        slice_id: int,  # noqa: ARG002 - part of the protocol
    ) -> Iterator[MetricValue]:
        """Yields nothing: the rows are the result."""
        return iter(())


def absolute_differences(batch: EvaluationBatch) -> Floats:
    """Returns by how much predictions differ from the baseline's, [versions, rows].

    Of several classes the one that differs most counts.
    """
    predictions = batch.predictions.astype(np.float64)
    differences: Floats = np.abs(predictions - predictions[:1])
    return differences if differences.ndim == 2 else differences.max(axis=2)


def headline_numbers(batch: EvaluationBatch) -> Floats:
    """Returns the one number of a prediction: itself, or the class with the highest score."""
    if batch.predictions.ndim == 2:
        return batch.predictions.astype(np.float64)
    return batch.predictions.argmax(axis=2).astype(np.float64)

"""Rows with what each version predicted, wherever that comes from."""

from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True, kw_only=True, slots=True)
class PredictedRows:
    """Some rows with their predictions.

    Attributes:
        columns: Of the data: labels, weights, keys and what slices are made of, among others.
        outputs: For each version its outputs, as many rows in the same order, nulls where it has
            none; None where it has none of all of them.
        num_found: For each version the rows of it that were found, where they were looked for.
    """

    columns: pa.RecordBatch
    outputs: tuple[pa.RecordBatch | None, ...]
    num_found: tuple[int, ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes that the rows take."""
        return sum(each.nbytes for each in (self.columns, *self.outputs) if each is not None)

"""An order-free checksum of predictions: two systems that agree on it did the same work."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds


@dataclass(frozen=True)
class Checksum:
    """Sums over the rows of an output; the sums of its parts add up to the whole's."""

    rows: int = 0
    id_sum: int = 0
    score_sum: float = 0.0

    def __add__(self, other: "Checksum") -> "Checksum":
        return Checksum(
            self.rows + other.rows, self.id_sum + other.id_sum, self.score_sum + other.score_sum
        )

    def times(self, copies: int) -> "Checksum":
        """Returns the checksum of so many copies of the rows."""
        return Checksum(self.rows * copies, self.id_sum * copies, self.score_sum * copies)

    @property
    def mean_score(self) -> float:
        """The mean prediction."""
        return self.score_sum / self.rows if self.rows else math.nan

    def agrees_with(self, other: "Checksum") -> bool:
        """Says whether both cover the same rows with the same predictions, up to rounding."""
        same_rows = (self.rows, self.id_sum) == (other.rows, other.id_sum)
        return same_rows and math.isclose(self.mean_score, other.mean_score, rel_tol=1e-5)


def of_arrays(ids: np.ndarray, scores: np.ndarray) -> Checksum:
    """Returns the checksum of one batch."""
    return Checksum(len(ids), int(ids.sum()), float(scores.sum(dtype=np.float64)))


def of_parquet(directory: Path, column: str = "score") -> Checksum:
    """Reads back the ids and the predictions in `column` of every Parquet file below `directory`."""
    batches = ds.dataset(directory, format="parquet").to_batches(columns=["id", column])
    return total(of_arrays(batch["id"].to_numpy(), _values(batch[column])) for batch in batches)


def _values(predictions: pa.Array) -> np.ndarray:
    is_list = pa.types.is_nested(predictions.type)
    values = predictions.flatten() if is_list else predictions
    return np.asarray(values.to_numpy(zero_copy_only=False))


def total(checksums: Iterable[Checksum]) -> Checksum:
    """Adds checksums up."""
    return sum(checksums, Checksum())

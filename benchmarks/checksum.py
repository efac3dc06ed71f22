"""An order-free checksum of predictions: two systems that agree on it did the same work."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
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


def of_parquet(directory: Path) -> Checksum:
    """Reads back the columns `id` and `score` of every Parquet file below `directory`."""
    batches = ds.dataset(directory, format="parquet").to_batches(columns=["id", "score"])
    return total(
        of_arrays(batch["id"].to_numpy(), batch["score"].to_numpy(zero_copy_only=False))
        for batch in batches
    )


def total(checksums: Iterable[Checksum]) -> Checksum:
    """Adds checksums up."""
    return sum(checksums, Checksum())

"""Which rows of a file are at hand, when some are missing in between."""

from itertools import pairwise

import numpy as np

from transforms.input_batch import Origin


def origins_of(path: str, rows: np.ndarray) -> tuple[Origin, ...]:
    """Returns one origin for each run of neighbouring rows.

    Args:
        path: The file.
        rows: Numbers of its rows, increasing.
    """
    borders = [0, *(np.flatnonzero(np.diff(rows) != 1) + 1).tolist(), len(rows)]
    return tuple(
        Origin(path=path, first_row=int(rows[low]), num_rows=high - low)
        for low, high in pairwise(borders)
        if low < high
    )


def numbers_between(first_row: int, num_rows: int, missing: np.ndarray) -> np.ndarray:
    """Returns the numbers of the `num_rows` rows from `first_row` on that are not `missing`."""
    rows = np.arange(first_row, first_row + num_rows + len(missing))
    present: np.ndarray = np.setdiff1d(rows, missing, assume_unique=True)[:num_rows]
    return present

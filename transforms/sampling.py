"""A random sample of the rows that is always the same one, however the input is read.

Whether a row is taken depends on its file's path, its number in there and a seed, and on nothing
else: not on batches, units, or the other rows. A smaller fraction takes some of the rows that a
larger one takes.
"""

import hashlib
from dataclasses import replace

import numpy as np

from servable_core.errors import InvalidArgumentError
from transforms.input_batch import InputBatch
from transforms.row_selection import select_rows

# Increment and multipliers of SplitMix64, whose outputs pass for random even for consecutive inputs.
_INCREMENT = np.uint64(0x9E3779B97F4A7C15)
_FIRST_FACTOR = np.uint64(0xBF58476D1CE4E5B9)
_SECOND_FACTOR = np.uint64(0x94D049BB133111EB)


def check_fraction(fraction: float) -> None:
    """Checks `--sample`.

    Raises:
        InvalidArgumentError: It is not above 0 and at most 1.
    """
    if not 0 < fraction <= 1:
        raise InvalidArgumentError(
            f"--sample must be a fraction above 0 and at most 1, such as 0.01, got {fraction}"
        )


def sample_mask(
    source_file: str, first_row: int, num_rows: int, fraction: float, seed: int = 0
) -> np.ndarray:
    """Returns which of rows [first_row, first_row + num_rows) of a file are in the sample.

    Args:
        source_file: The file's path, as the plan has it.
        first_row: Number in the file of the first of them.
        num_rows: How many they are.
        fraction: Share of all rows that is taken, on average.
        seed: Another one gives another sample.
    """
    if fraction >= 1:
        return np.ones(num_rows, np.bool_)
    rows = np.arange(first_row, first_row + num_rows, dtype=np.uint64)
    with np.errstate(over="ignore"):  # arithmetic modulo 2**64 is what is meant
        mixed = _mix(rows * _INCREMENT + _file_key(source_file, seed))
    taken: np.ndarray = mixed < np.uint64(int(fraction * 2**64))
    return taken


def _file_key(source_file: str, seed: int) -> np.uint64:
    text = f"{seed}:{source_file}".encode("utf-8", "surrogateescape")
    return np.uint64(int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little"))


def _mix(values: np.ndarray) -> np.ndarray:
    values = (values ^ (values >> np.uint64(30))) * _FIRST_FACTOR
    values = (values ^ (values >> np.uint64(27))) * _SECOND_FACTOR
    mixed: np.ndarray = values ^ (values >> np.uint64(31))
    return mixed


def sampled(batch: InputBatch, fraction: float, seed: int = 0) -> InputBatch:
    """Returns the rows, and bad records, of `batch` that are in the sample.

    Args:
        batch: Rows whose origins are known.
        fraction: Share of all rows that is taken, on average.
        seed: Another one gives another sample.
    """
    masks = [
        sample_mask(each.path, each.first_row, each.num_rows, fraction, seed)
        for each in batch.origins
    ]
    mask = np.concatenate(masks) if masks else np.ones(batch.num_rows, np.bool_)
    bad_records = tuple(
        each
        for each in batch.bad_records
        if each.source_row is None
        or sample_mask(each.source_file, each.source_row, 1, fraction, seed)[0]
    )
    if mask.all():
        return replace(batch, bad_records=bad_records)
    return replace(select_rows(batch, mask), bad_records=bad_records)

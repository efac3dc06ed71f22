"""Rows of different lengths, side by side in one array."""

from collections.abc import Sequence

import numpy as np

from servable_core.errors import InvalidArgumentError


class RaggedArray:
    """Values of all rows, one after the other, and where each row begins.

    Immutable. Slices of rows share the memory of the whole.

    Attributes:
        values: Shape [num_values, ...]; the dimensions after the first are the same in all rows.
        offsets: int64 of shape [num_rows + 1], increasing: row i is
            `values[offsets[i]:offsets[i + 1]]`. The first need not be 0.
    """

    __slots__ = ("offsets", "values")

    def __init__(self, values: np.ndarray, offsets: np.ndarray) -> None:
        """Wraps both arrays, uncopied; they must not change."""
        self.values = values
        self.offsets = offsets

    @classmethod
    def from_rows(cls, rows: Sequence[Sequence[object] | np.ndarray], dtype: str) -> "RaggedArray":
        """Builds one from a sequence of rows; for small data."""
        arrays = [np.asarray(row, dtype) for row in rows]
        offsets = _offsets(np.asarray([len(each) for each in arrays], np.int64))
        return cls(np.concatenate(arrays) if arrays else np.zeros(0, dtype), offsets)

    @property
    def dtype(self) -> np.dtype:
        """Type of the values."""
        return self.values.dtype

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Dimensions as of a padded array: rows, None for the varying one, and those of a value."""
        return (len(self.offsets) - 1, None, *self.values.shape[1:])

    @property
    def nbytes(self) -> int:
        """About how much memory the rows take."""
        num_values = int(self.offsets[-1] - self.offsets[0])
        return self.offsets.nbytes + self.values.itemsize * num_values

    @property
    def lengths(self) -> np.ndarray:
        """Values of each row: int64 of shape [num_rows]."""
        lengths: np.ndarray = self.offsets[1:] - self.offsets[:-1]
        return lengths

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, rows: slice) -> "RaggedArray":
        start, stop, step = rows.indices(len(self))
        if step != 1:
            raise InvalidArgumentError(f"rows must be sliced with a step of 1, got {step}")
        return RaggedArray(self.values, self.offsets[start : max(start, stop) + 1])

    def take(self, rows: np.ndarray) -> "RaggedArray":
        """Returns the rows of these indices, in their order, copied."""
        lengths = self.lengths[rows]
        offsets = _offsets(lengths)
        first = np.repeat(self.offsets[:-1][rows] - offsets[:-1], lengths)
        return RaggedArray(self.values[first + np.arange(offsets[-1])], offsets)

    def row(self, index: int) -> np.ndarray:
        """Returns the values of one row."""
        values: np.ndarray = self.values[self.offsets[index] : self.offsets[index + 1]]
        return values

    def padded(self, length: int, value: object, mask: np.ndarray | None = None) -> np.ndarray:
        """Returns an array of shape [num_rows, length, ...] with `value` behind each row's own.

        Args:
            length: Of every row of the result.
            value: What to pad with.
            mask: `row_mask(self.lengths, length)`, if there is one already.

        Raises:
            InvalidArgumentError: A row is longer.
        """
        lengths = self.lengths
        content = self.values[self.offsets[0] : self.offsets[-1]]
        if not len(lengths) or (lengths == length).all():
            return content.reshape(len(lengths), length, *self.values.shape[1:])
        if lengths.max() > length:
            raise InvalidArgumentError(
                f"rows must have at most {length} values, got {lengths.max()}"
            )
        result = np.full((len(lengths), length, *self.values.shape[1:]), value, self.dtype)
        result[row_mask(lengths, length) if mask is None else mask] = content
        return result

    def __repr__(self) -> str:
        return f"RaggedArray(shape={self.shape}, dtype={self.dtype})"


def row_mask(lengths: np.ndarray, length: int) -> np.ndarray:
    """Returns a bool array of shape [num_rows, length]: true where a row has a value of its own."""
    mask: np.ndarray = np.arange(length) < lengths[:, None]
    return mask


def concat_ragged(arrays: Sequence[RaggedArray]) -> RaggedArray:
    """Returns the rows of all `arrays` (one at least) in order."""
    if len(arrays) == 1:
        return arrays[0]
    contents = [each.values[each.offsets[0] : each.offsets[-1]] for each in arrays]
    lengths = np.concatenate([each.lengths for each in arrays])
    return RaggedArray(np.concatenate(contents), _offsets(lengths))


def unpadded(array: np.ndarray, lengths: np.ndarray) -> RaggedArray:
    """Returns the first `lengths[i]` values of each row i of an array of shape [num_rows, length, ...]."""
    return RaggedArray(array[row_mask(lengths, array.shape[1])], _offsets(lengths))


def _offsets(lengths: np.ndarray) -> np.ndarray:
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets

"""How many rows share their key with another row: counted for all keys, or for a sample of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa

from transforms.metrics import state
from transforms.metrics.array_types import Integers
from transforms.metrics.grouping import run_starts
from transforms.metrics.key_blocks import Hashes

_KIND = "key_sample"
_HASH_BITS = 64


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class KeySample:
    """The rows of each key; of too many keys, of those alone whose hash begins with some zeros.

    Which keys these are depends on nothing but the keys, so samples merge in any order to the same
    one (adaptive sampling: Flajolet, Computing 43, 1990).

    Attributes:
        max_keys: More are sampled.
        level: Of the keys one in 2^level is in the sample, in the mean.
        hashes: Of the keys, in ascending order.
        counts: The rows of each key.
    """

    max_keys: int
    level: int
    hashes: Hashes
    counts: Integers

    def __post_init__(self) -> None:
        state.freeze(self.hashes, self.counts)

    @classmethod
    def empty(cls, max_keys: int) -> Self:
        """Returns the sample of no rows."""
        return cls.of_rows(max_keys, np.zeros(0, dtype=np.uint64))

    @classmethod
    def of_rows(cls, max_keys: int, hashes: Hashes) -> Self:
        """Returns the sample of rows whose keys have these hashes, 64 well-mixed bits each."""
        in_order = np.sort(hashes)
        starts = run_starts(in_order)
        return cls._sampled(max_keys, 0, in_order[starts], np.diff(starts, append=in_order.size))

    @classmethod
    def _sampled(cls, max_keys: int, level: int, hashes: Hashes, counts: Integers) -> Self:
        """Returns as much of it as may be kept."""
        size = _num_below(hashes, level)
        while size > max_keys:
            level += 1
            size = _num_below(hashes, level)
        return cls(
            max_keys=max_keys, level=level, hashes=hashes[:size].copy(), counts=counts[:size].copy()
        )

    @classmethod
    def merge(cls, states: Iterable[Self]) -> Self:
        """Returns the sample of the rows of all states; see `State`."""
        found = state.at_least_one(states)
        max_keys = state.only((each.max_keys for each in found), "number of keys")
        hashes = np.concatenate([each.hashes for each in found])
        order = np.argsort(hashes, kind="stable")
        in_order = hashes[order]
        counts = np.concatenate([each.counts for each in found])[order]
        starts = run_starts(in_order)
        if starts.size < counts.size:
            counts = np.add.reduceat(counts, starts)
        level = max(each.level for each in found)
        return cls._sampled(max_keys, level, in_order[starts], counts)

    @property
    def is_exact(self) -> bool:
        """Whether all keys are in the sample."""
        return self.level == 0

    @property
    def num_sharing_rows(self) -> int:
        """About how many rows have a key that another row has, too."""
        return int(self.counts[self.counts > 1].sum()) << self.level

    @property
    def nbytes(self) -> int:
        """Bytes that the state holds."""
        return self.hashes.nbytes + self.counts.nbytes

    def to_table(self) -> pa.Table:
        """Returns the state as a table; equal states give equal tables."""
        said = {state.VERSION_KEY: str(state.SCHEMA_VERSION), "kind": _KIND}
        sizes = {"max_keys": str(self.max_keys), "level": str(self.level)}
        table = pa.table({"hash": self.hashes, "rows": self.counts})
        return state.redescribed(table, {**said, **sizes})

    @classmethod
    def from_table(cls, table: pa.Table) -> Self:
        """Returns the state of which `table` was made.

        Raises:
            DataLossError: It was made of no such state.
        """
        said = state.described(table, _KIND)
        hashes, counts = (table[name].to_numpy() for name in ("hash", "rows"))
        return cls._sampled(int(said["max_keys"]), int(said["level"]), hashes, counts)


def _num_below(hashes: Hashes, level: int) -> int:
    """Returns how many of the hashes, which are in order, begin with `level` zeros."""
    if level == 0:
        return int(hashes.size)
    return int(np.searchsorted(hashes, np.uint64(1 << (_HASH_BITS - level))))

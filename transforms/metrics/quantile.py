"""Quantiles of distributions held in bins, and of what is left of them without a block."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from transforms.metrics.array_types import Floats, Integers
from transforms.metrics.ranking import Bounded
from transforms.metrics.slice_distributions import SliceDistributions

# A share that is reached but for rounding is reached.
_ROUNDING = 1 - 1e-15


class Cumulative:
    """Cumulative weights of distributions, to find quantiles in."""

    def __init__(self, distributions: SliceDistributions) -> None:
        """Adds up the weights of both labels."""
        self._numbers = distributions
        self._weights = np.cumsum(distributions.total.sum(axis=1), axis=-1)
        self._blocks = _BlockCells(distributions, self._weights)

    @property
    def rows(self) -> Floats:
        """The weight of each slice."""
        if not self._weights.shape[1]:
            return np.zeros(self._weights.shape[0])
        return self._weights[:, -1].astype(np.float64)

    def quantiles(self, shares: float | Floats) -> Bounded:
        """Returns for each slice the smallest number that at least a share of the weight is not above.

        Args:
            shares: Between 0 and 1; one for all, or one for each slice.
        """
        if not self._weights.shape[1]:
            return Bounded(*(np.full(self.rows.size, np.nan),) * 3)
        least = shares * self.rows * _ROUNDING
        places = np.count_nonzero(self._weights < least[:, None], axis=1)
        return Bounded(*(self._at(each, places) for each in ("middle", "lower", "upper")))

    def without_blocks(self, share: float) -> Floats:
        """Returns for each slice the middles of the quantiles without each block, [slices, blocks].

        The weight up to a bin without a block is the one of all less the block's own, which only
        changes where the block has cells. So the bin is the first that reaches what must be
        reached with the block's weight before it, or else the next where the block has any.
        """
        blocks = self._blocks
        if not self._weights.shape[1]:
            return np.full(blocks.weights.shape, np.nan)
        left = self.rows[:, None] - blocks.weights
        least = share * left * _ROUNDING
        own = blocks.passed(least)
        before, following = blocks.before(own), blocks.following(own, self._weights.shape[1] - 1)
        places = np.minimum(self._first_reaching(least + before), following)
        return np.where(left > 0, self._at("middle", places), np.nan)

    def _first_reaching(self, weights: Floats) -> Integers:
        """Returns the first bins up to which there are such weights, [slices, ...]."""
        found = [
            np.searchsorted(cumulative, each)
            for cumulative, each in zip(self._weights, weights, strict=True)
        ]
        return np.stack(found)

    def _at(self, name: str, places: Integers) -> Floats:
        places = np.minimum(places, self._weights.shape[1] - 1)
        numbers = getattr(self._numbers, name)
        slices = np.arange(places.shape[0]).reshape(-1, *(1,) * (places.ndim - 1))
        is_known = (self.rows > 0).reshape(slices.shape)
        return np.where(is_known, numbers[slices, places], np.nan)


class _BlockCells:
    """The cells of each block of each slice, ascending.

    Attributes:
        weights: Of the blocks, [slices, blocks].
    """

    def __init__(self, distributions: SliceDistributions, cumulative: NDArray[Any]) -> None:
        """Sorts the cells of distributions, with these cumulative weights, by block."""
        num_blocks = distributions.options.num_blocks
        self.weights = distributions.block_weights
        rows = distributions.slices * num_blocks + distributions.places % num_blocks
        order = np.argsort(rows.astype(np.min_scalar_type(self.weights.size)), kind="stable")
        rows, bins = rows[order], distributions.bins[order]
        # The sums of all blocks run on, so those of weights take more digits than one block's.
        kind = np.longdouble if distributions.options.is_weighted else np.int64
        own = np.cumsum(distributions.amounts[order], dtype=kind)
        # A bin may have a cell of each label; its last one stands for both.
        is_last = np.ones(rows.size, dtype=bool)
        is_last[:-1] = (rows[1:] != rows[:-1]) | (bins[1:] != bins[:-1])
        self._rows, self._bins = rows[is_last], bins[is_last]
        self._sizes = np.bincount(self._rows, minlength=self.weights.size)
        self._starts = np.cumsum(self._sizes) - self._sizes
        ends = np.append(np.zeros(1, dtype=kind), own)[
            np.cumsum(np.bincount(rows, minlength=self.weights.size))
        ]
        before = np.append(np.zeros(1, dtype=kind), ends[:-1])
        self._own = (own[is_last] - before[self._rows]).astype(cumulative.dtype)
        self._left = cumulative[self._rows // num_blocks, self._bins] - self._own

    def passed(self, least: Floats) -> Integers:
        """Returns in how many of a block's cells less than this is left without the block."""
        is_less = self._left < least.ravel()[self._rows]
        return np.bincount(self._rows[is_less], minlength=self.weights.size)

    def before(self, passed: Integers) -> Floats:
        """Returns the weight of the first cells of each block, [slices, blocks]."""
        last = np.append(self._own, 0)[self._starts + passed - 1]
        return np.where(passed > 0, last, 0).reshape(self.weights.shape)

    def following(self, passed: Integers, default: int) -> Integers:
        """Returns the bin of the next cell of each block; `default` if there is none."""
        following = np.append(self._bins, default)[self._starts + passed]
        found = np.where(passed < self._sizes, following, default)
        return found.reshape(self.weights.shape)

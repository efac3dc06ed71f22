"""The sums that means and their errors are made of: of values, their squares and differences."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from transforms.metrics.array_types import Booleans, Floats
from transforms.metrics.evaluation_batch import EvaluationBatch
from transforms.metrics.fixed_point import Words, to_words, words_of
from transforms.metrics.fixed_sums import FixedSums
from transforms.metrics.key_layout import KeyLayout
from transforms.metrics.packed_counts import PackedCounts
from transforms.metrics.row_metric import RowMetric
from transforms.metrics.slice_sums import Additions, sum_slices

# Sums of squares have a place for values up to here.
_MAX_VALUE = 2.0**52


class _Added(NamedTuple):
    """What rows add to some sums.

    Attributes:
        names: Of the sums.
        values: [names, rows]; of no rows if there is nothing to add.
        most: What the size of none exceeds, where that is known.
    """

    names: tuple[str, ...]
    values: Floats
    most: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RowSums:
    """How the values of metrics are added up, by slice and block.

    Attributes:
        metrics: What gives the values.
        num_versions: Versions.
        num_blocks: Blocks of the jackknife.
        is_weighted: Whether rows have weights.
    """

    metrics: tuple[RowMetric, ...]
    num_versions: int
    num_blocks: int
    is_weighted: bool = False

    @property
    def layout(self) -> KeyLayout:
        """The cells of the sums."""
        return KeyLayout(names=("slice", "block"), sizes=(self.num_blocks,))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the sums: of the weights, and for each metric."""
        of_metrics = (f"{each.name}/{name}" for each in self.metrics for name in self.kinds(each))
        return (*self.weights, *of_metrics)

    @property
    def weights(self) -> tuple[str, ...]:
        """Names of the sums of the weights, and of their squares."""
        return ("w", "ww") if self.is_weighted else ("w",)  # 1 is its own square

    def kinds(self, metric: RowMetric) -> tuple[str, ...]:
        """Returns names of the sums of a metric; what only an error needs is kept only if it has one."""
        kinds = ["undefined", *(f"wx/{each}" for each in range(self.num_versions))]
        if self.is_weighted:
            kinds += ["undefined_w", "undefined_ww"]
        if metric.is_reported:
            ofs = ("wwx", "wwxx") if self.is_weighted else ("wwxx",)
            kinds += [f"{of}/{each}" for of in ofs for each in range(self.num_versions)]
            kinds += [f"wwdd/{each}" for each in range(1, self.num_versions)]
        return tuple(kinds)

    def firsts(self) -> list[int]:
        """Returns where the sums of each metric begin."""
        sizes = [len(self.kinds(each)) for each in self.metrics]
        return [*itertools.accumulate(sizes[:-1], initial=len(self.weights))]

    def empty(self) -> FixedSums:
        """Returns the sums over no rows."""
        return FixedSums.empty(self.layout, self.names)

    def of_batch(self, batch: EvaluationBatch) -> FixedSums:
        """Returns the sums over the rows of a batch."""
        same = self._same_sums()
        counts = PackedCounts(self._counted(), batch.num_rows)
        names = tuple(n for n in self.names if n not in same and n not in counts.names)
        added = (
            Additions(start, chunk.blocks, self._added(chunk, counts))
            for start, chunk in batch.chunks()
        )
        sums = sum_slices(self.layout, (*names, *counts.packed_names), batch.slices, added)
        columns = dict(zip(names, sums.columns[: len(names)], strict=True))
        columns |= counts.unpacked(sums.columns[len(names) :])
        all_columns = tuple(columns[same.get(name, name)] for name in self.names)
        return replace(sums, names=self.names, columns=all_columns)

    def _same_sums(self) -> Mapping[str, str]:
        """Returns which sums are those of other names, so that they are added up once."""
        same = {}
        for metric in self.metrics:
            for each in range(self.num_versions):
                if metric.is_of_row and each:
                    same[f"{metric.name}/wx/{each}"] = f"{metric.name}/wx/0"
                elif self._is_count(metric) and metric.is_reported:  # the squares of 0 and 1
                    same[f"{metric.name}/wwxx/{each}"] = f"{metric.name}/wx/{each}"
        return same

    def _counted(self) -> tuple[str, ...]:
        """Returns which sums are numbers of rows."""
        if self.is_weighted:
            return ()
        of_shares = (
            f"{metric.name}/{kind}"
            for metric in self.metrics
            if metric.is_share
            for kind in self.kinds(metric)
            if kind != "undefined"
        )
        same = self._same_sums()
        return ("w", *(name for name in of_shares if name not in same))

    def _is_count(self, metric: RowMetric) -> bool:
        """Returns whether the sums of a metric are numbers of rows."""
        return metric.is_share and not self.is_weighted

    def _added(self, batch: EvaluationBatch, counts: PackedCounts) -> Iterator[list[Words]]:
        """Yields what rows add to each sum, in the order of the names, and then to the counts."""
        flags: list[Floats] = []
        for names, values, most in self._values(batch):
            if names[0] in counts.names:
                flags.extend(values)
                continue
            words = to_words(values, most)
            for place in range(len(names)):
                yield words_of(words, place)
        yield from counts.words(flags)

    def _values(self, batch: EvaluationBatch) -> Iterator[_Added]:
        """Yields what rows add to all sums."""
        w = batch.row_weights()[None]
        yield _Added(("w",), w)
        if self.is_weighted:
            yield _Added(("ww",), w * w)
        for metric in self.metrics:
            x = np.asarray(metric.values(batch), dtype=np.float64)
            most = _largest(x)
            undefined = np.zeros((1, 0))  # rather than all 0: there is nothing to add
            if not most <= _MAX_VALUE:
                is_defined = _is_defined(x)
                undefined = (~is_defined).astype(np.float64)[None]
                x = np.where(is_defined, x, 0)
                most = _largest(x)
            if self.is_weighted:
                x = w * x
                most = _largest(x)
            for kinds, values, largest in self._terms(metric, x, most, w, undefined):
                yield _Added(tuple(f"{metric.name}/{kind}" for kind in kinds), values, largest)

    def _terms(
        self, metric: RowMetric, wx: Floats, most: float, w: Floats, undefined: Floats
    ) -> Iterator[_Added]:
        """Yields what rows add to a metric's sums, by their kinds.

        Args:
            metric: The metric.
            wx: Weighted values, 0 where they are not defined.
            most: The largest size of one.
            w: The weights.
            undefined: 1 for rows whose value is not defined; of no rows if there are none.
        """
        versions = range(self.num_versions)
        yield _Added(("undefined",), undefined)
        held = versions[:1] if metric.is_of_row else versions
        yield _Added(tuple(f"wx/{each}" for each in held), wx[: len(held)], most)
        if self.is_weighted:
            undefined = undefined * w[:, : undefined.size]
            yield _Added(("undefined_w",), undefined)
            yield _Added(("undefined_ww",), undefined * w[:, : undefined.size])
        if not metric.is_reported:
            return
        if self.is_weighted:
            yield _Added(tuple(f"wwx/{each}" for each in versions), w * wx)
        if not self._is_count(metric):
            yield _Added(tuple(f"wwxx/{each}" for each in versions), wx * wx, most * most)
        if len(versions) > 1:
            changes = wx[1:] - wx[0]
            changes *= changes
            yield _Added(tuple(f"wwdd/{each}" for each in versions[1:]), changes, 4 * most * most)


def _largest(values: Floats) -> float:
    """Returns the largest size of a number."""
    return float(max(-values.min(initial=0), values.max(initial=0)))


def _is_defined(values: Floats) -> Booleans:
    """Returns for which rows all versions have a value."""
    is_defined: Booleans = np.logical_and.reduce(np.abs(values) <= _MAX_VALUE, axis=0)
    return is_defined

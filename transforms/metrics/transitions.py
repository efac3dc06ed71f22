"""From which class to which decisions change, and whether they are right before and after."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from transforms.metrics.array_types import Floats, Integers
from transforms.metrics.estimates import Estimates
from transforms.metrics.evaluation_batch import EvaluationBatch
from transforms.metrics.fixed_point import to_floats, to_words
from transforms.metrics.fixed_sums import FixedSums
from transforms.metrics.grouping import run_starts
from transforms.metrics.key_layout import KeyLayout
from transforms.metrics.metric_column import MetricColumn
from transforms.metrics.metric_family import States
from transforms.metrics.slice_sums import Additions, sum_slices

TRANSITIONS = "transitions"
_SUMS = ("weight", "won", "lost")
# There may be sums for each pair of classes.
_MAX_CLASSES = 1024
_MAX_REPORTED = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Transitions:
    """A family that adds up the rows of each change of class.

    Rows that stay in their class are left out; there may be far more of them.

    Attributes:
        num_versions: Versions.
        num_classes: Classes; nothing is added up if there are more than a thousand.
    """

    num_versions: int
    num_classes: int

    @property
    def layout(self) -> KeyLayout:
        """The cells of the sums."""
        return KeyLayout(
            names=("slice", "version", "before", "after"),
            sizes=(self.num_versions, self.num_classes, self.num_classes),
        )

    def create(self) -> States:
        """Returns the sums of no rows."""
        return {TRANSITIONS: FixedSums.empty(self.layout, _SUMS)}

    def update(self, batch: EvaluationBatch) -> States:
        """Returns the sums of the rows of a batch."""
        if self.num_classes > _MAX_CLASSES:
            return self.create()
        decisions = batch.predictions.argmax(axis=2)
        parts = [
            self._of_version(batch, decisions, version) for version in range(1, self.num_versions)
        ]
        return {TRANSITIONS: FixedSums.merge([FixedSums.empty(self.layout, _SUMS), *parts])}

    def _of_version(self, batch: EvaluationBatch, decisions: Integers, version: int) -> FixedSums:
        is_changed = decisions[version] != decisions[0]
        changed = batch.where(is_changed)
        before, after = decisions[0, is_changed], decisions[version, is_changed]
        weights = changed.row_weights()
        labels = np.full(before.size, np.nan) if changed.labels is None else changed.labels
        numbers = (weights, weights * (labels == after), weights * (labels == before))
        cells = (version * self.num_classes + before) * self.num_classes + after
        added = Additions(0, cells, [to_words(each) for each in numbers])
        return sum_slices(self.layout, _SUMS, changed.slices, [added])

    def finalise_slices(
        self, states: Mapping[str, Any], slice_ids: Integers
    ) -> Iterator[MetricColumn]:
        """Yields `transition`, the rows of each of a slice's most frequent changes."""
        found = _frequent(states[TRANSITIONS], slice_ids)
        cells = found.keys % self.layout.cells
        order = np.argsort(cells, kind="stable")
        starts = run_starts(cells[order]).tolist()
        for start, stop in pairwise([*starts, order.size]):
            own = order[start:stop]
            version, pair = divmod(int(cells[own[0]]), self.num_classes**2)
            before, after = divmod(pair, self.num_classes)
            yield MetricColumn(
                metric="transition",
                slice_ids=found.keys[own] // self.layout.cells,
                version=version,
                sub_key=f"before={before},after={after}",
                is_difference=True,
                estimates=Estimates.of(found.weights[own]),
            )


class _Changes(NamedTuple):
    """Weights of changes by their cells, in the order of these."""

    keys: Integers
    weights: Floats


def _frequent(sums: FixedSums, slice_ids: Integers) -> _Changes:
    """Returns the most frequent changes of each slice and version."""
    is_asked = np.isin(sums.keys // sums.layout.cells, slice_ids)
    keys, weights = sums.keys[is_asked], _numbers(sums.columns[0])[is_asked]
    groups = keys // sums.layout.sizes[1] ** 2  # slice and version
    order = np.lexsort((keys, -weights, groups))
    starts = run_starts(groups[order])
    ranks = np.arange(order.size) - np.repeat(starts, np.diff(starts, append=order.size))
    kept = np.sort(order[ranks < _MAX_REPORTED])
    return _Changes(keys[kept], weights[kept])


@dataclass(frozen=True, kw_only=True, slots=True)
class Transition:
    """A change of class.

    Attributes:
        before: The class with the baseline's highest score.
        after: The class with the version's.
        weight: Of the rows that change so; their number where they have no weights.
        won: Of those of them whose label is `after`.
        lost: Of those of them whose label is `before`.
    """

    before: int
    after: int
    weight: float
    won: float
    lost: float


def transitions(states: Mapping[str, Any], slice_id: int, version: int) -> list[Transition]:
    """Returns the changes of class from the baseline to a version, the most frequent first.

    Args:
        states: Of the whole evaluation; of another task there are none.
        slice_id: The slice.
        version: Index of the version.
    """
    if TRANSITIONS not in states:
        return []
    sums: FixedSums = states[TRANSITIONS]
    layout = sums.layout
    cells_before = slice_id * layout.cells + np.array([version, version + 1]) * layout.sizes[1] ** 2
    own = sums.within(*cells_before.tolist())
    _, _, before, after = layout.unpack(own.keys)
    numbers = [_numbers(each) for each in own.columns]
    order = np.argsort(-numbers[0], kind="stable")
    columns = (before, after, *numbers)
    return [
        Transition(before=one, after=other, weight=weight, won=won, lost=lost)
        for one, other, weight, won, lost in zip(
            *(each[order].tolist() for each in columns), strict=True
        )
    ]


def _numbers(column: Integers) -> Floats:
    return column.astype(np.float64) if column.ndim == 1 else to_floats(column)

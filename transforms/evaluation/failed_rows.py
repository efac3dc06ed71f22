"""Rows that have no prediction, counted: unreadable ones, and those that a model failed at."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from transforms.bad_records import BadRecord, Stage
from transforms.metrics.counters import Counters
from transforms.metrics.estimate import Estimate
from transforms.metrics.evaluation_batch import EvaluationBatch
from transforms.metrics.key_layout import KeyLayout
from transforms.metrics.metric_family import MetricValue, States

_STATE = "failed_rows"
_ALL_ROWS = 0
_NAMES = tuple(stage.value for stage in Stage)


@dataclass(frozen=True, kw_only=True, slots=True)
class FailedRows:
    """A family that counts the rows without a prediction, by version and stage.

    They are told of all rows alone: which slices a row that failed is in may not be known.

    Attributes:
        num_versions: Versions.
    """

    num_versions: int

    def create(self) -> States:
        """Returns the counts of no rows."""
        return self.of_records([], {})

    def update(self, batch: EvaluationBatch) -> States:  # noqa: ARG002 - part of the protocol
        """Returns the counts of no rows: those of a batch have predictions."""
        return self.create()

    def of_records(
        self, records: Sequence[BadRecord], versions: Mapping[tuple[str, int], int]
    ) -> States:
        """Returns the counts of records that failed.

        Args:
            records: The records; one that failed for no version in particular failed for all.
            versions: Index of each version, by name and number of the model.
        """
        counts = np.zeros((self.num_versions, len(_NAMES)), dtype=np.int64)
        for each in records:
            version = slice(None) if each.model is None else versions[each.model]
            counts[version, _NAMES.index(each.stage.value)] += 1
        cells = np.arange(self.num_versions, dtype=np.int64)
        return {_STATE: Counters.of_rows(self._layout, _NAMES, cells, counts)}

    def numbers(self, states: Mapping[str, Any]) -> list[int]:
        """Returns for each version the rows that have no prediction."""
        counts = states[_STATE].dense(_ALL_ROWS)
        return [int(each.sum()) for each in counts]

    def finalise(self, states: Mapping[str, Any], slice_id: int) -> Iterator[MetricValue]:
        """Yields `inference_errors` of all rows, and by stage what there is."""
        if slice_id != _ALL_ROWS:
            return
        for version, counts in enumerate(states[_STATE].dense(_ALL_ROWS)):
            yield _value(version, "", int(counts.sum()))
            for name, number in zip(_NAMES, counts, strict=True):
                if number:
                    yield _value(version, f"stage={name}", int(number))

    @property
    def _layout(self) -> KeyLayout:
        return KeyLayout(names=("slice", "version"), sizes=(self.num_versions,))


def _value(version: int, sub_key: str, number: int) -> MetricValue:
    return MetricValue(
        metric="inference_errors",
        slice_id=_ALL_ROWS,
        version=version,
        sub_key=sub_key,
        estimate=Estimate(value=float(number)),
    )

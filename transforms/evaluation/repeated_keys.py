"""Rows whose key another row has, too, counted: such a key identifies none of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from servable_core.errors import InvalidArgumentError
from transforms.metrics.estimate import Estimate
from transforms.metrics.evaluation_batch import EvaluationBatch
from transforms.metrics.key_sample import KeySample
from transforms.metrics.metric_family import MetricValue, States

REPEATED_KEYS = "repeated_keys"
_STATE = "example_keys"
_ALL_ROWS = 0
_MAX_KEYS = 1 << 16  # a megabyte


@dataclass(frozen=True, kw_only=True, slots=True)
class RepeatedKeys:
    """A family that counts the rows whose key is not theirs alone, of all rows together.

    Attributes:
        num_versions: Versions.
        max_keys: Of more keys a sample is counted.
    """

    num_versions: int
    max_keys: int = _MAX_KEYS

    def create(self) -> States:
        """Returns the keys of no rows."""
        return {_STATE: KeySample.empty(self.max_keys)}

    def update(self, batch: EvaluationBatch) -> States:
        """Returns the keys of the rows of a batch."""
        if batch.key_hashes is None:
            raise InvalidArgumentError("keys can be counted only if the batch has their hashes")
        return {_STATE: KeySample.of_rows(self.max_keys, batch.key_hashes)}

    def finalise(self, states: Mapping[str, Any], slice_id: int) -> Iterator[MetricValue]:
        """Yields `repeated_keys` of all rows, which is the same for each version."""
        if slice_id != _ALL_ROWS:
            return
        found = float(states[_STATE].num_sharing_rows)
        for version in range(self.num_versions):
            yield MetricValue(
                metric=REPEATED_KEYS,
                slice_id=_ALL_ROWS,
                version=version,
                estimate=Estimate(value=found),
            )

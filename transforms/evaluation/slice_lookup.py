"""Which slice of a group a row is in: a walk through tables, one step for each column."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.evaluation.results import SliceKey
from transforms.evaluation.slice_groups import Dimension
from transforms.evaluation.slice_values import NamedCodes
from transforms.evaluation.slices import NULL_VALUE, OTHER_VALUE
from transforms.metrics import NO_SLICE
from transforms.metrics.array_types import Integers


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Step:
    """One column of a group.

    Attributes:
        dimension: The column.
        vocabulary: Values that slices of the group have in it.
        place_of_others: Where in it values go that are not in it.
        table: [states, values and one for all others]: where each value leads from each state. The
            last state is that of rows in no slice. The last step leads to slices.
    """

    dimension: Dimension
    vocabulary: pa.StringArray
    place_of_others: int
    table: Integers

    def places(self, encoded: NamedCodes) -> Integers:
        """Returns the index of each named value in the vocabulary, or the one behind it."""
        found = pc.index_in(encoded.names, self.vocabulary)
        places = found.fill_null(self.place_of_others).to_numpy(zero_copy_only=False)
        is_null = pc.equal(encoded.names, NULL_VALUE).to_numpy(zero_copy_only=False)
        # Null is a value of its own: it never counts as one of the others.
        is_lost = is_null & found.is_null().to_numpy(zero_copy_only=False)
        return np.where(is_lost, len(self.vocabulary), places).astype(np.int64)

    def follow(self, states: Integers, encoded: NamedCodes) -> Integers:
        """Returns where the values of rows lead from their states, or all from the only one."""
        places = self.places(encoded)
        if states.size == 1:  # there are far fewer values than rows
            return self.table[states[0], places][encoded.codes]
        steps = states * self.table.shape[1]
        steps += places[encoded.codes]
        return self.table.ravel()[steps]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SliceLookup:
    """The slices of a group, by the values of its columns.

    Attributes:
        steps: One for each column.
    """

    steps: tuple[Step, ...]

    @classmethod
    def of_keys(
        cls, dimensions: Sequence[Dimension], keys: Sequence[SliceKey], slice_ids: Sequence[int]
    ) -> Self:
        """Returns the look-up of some slices, whose keys have the columns of `dimensions`."""
        values = [tuple(value for _, value in key) for key in keys]
        prefixes: dict[tuple[str, ...], int] = {(): 0}
        steps = []
        for depth, dimension in enumerate(dimensions, start=1):
            is_last = depth == len(dimensions)
            ends = dict.fromkeys(each[:depth] for each in values)
            targets = (
                dict(zip(values, slice_ids, strict=True))
                if is_last
                else {prefix: state for state, prefix in enumerate(ends)}
            )
            nowhere = NO_SLICE if is_last else len(ends)
            steps.append(_step(dimension, prefixes, targets, nowhere))
            prefixes = targets
        return cls(steps=tuple(steps))

    def slice_ids(self, encoded: Mapping[Dimension, NamedCodes]) -> Integers:
        """Returns the slice of each row, `NO_SLICE` where it is in none."""
        states = np.zeros(1, dtype=np.int64)
        for step in self.steps:
            states = step.follow(states, encoded[step.dimension])
        return states


def _step(
    dimension: Dimension,
    prefixes: Mapping[tuple[str, ...], int],
    targets: Mapping[tuple[str, ...], int],
    nowhere: int,
) -> Step:
    vocabulary = tuple(dict.fromkeys(each[-1] for each in targets))
    places = {value: place for place, value in enumerate(vocabulary)}
    table = np.full((len(prefixes) + 1, len(vocabulary) + 1), nowhere, dtype=np.int64)
    for path, target in targets.items():
        table[prefixes[path[:-1]], places[path[-1]]] = target
    return Step(
        dimension=dimension,
        vocabulary=pa.array(vocabulary, pa.string()),
        place_of_others=places.get(OTHER_VALUE, len(vocabulary)),
        table=table,
    )

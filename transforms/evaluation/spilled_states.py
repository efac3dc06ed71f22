"""States on their way between workers: files below the directory that the workers of a job share.

Thousands of slices have states of a gigabyte, of which nobody should hold several. Each state is a
file of its own, so that merging many sets of them takes the memory of one state at a time.
"""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from servable_core.errors import DataLossError
from servable_core.runtime.memory import release_unused_memory
from transforms.metrics import Accumulator, Evaluation, States
from transforms.metrics.state import State
from transforms.storage import create_file, delete_tree, read_bytes

_DIRECTORY = "spilled_states"
# What a worker's bundle holds, and how many sets of files it leaves.
_MAX_HELD_BYTES = 128 << 20
_MAX_PLACES = 8
# Parts of one state that wait to be merged, however little was merged.
_FEW_BYTES = 64 << 20


class SpilledStates(Mapping[str, State]):
    """The states of all rows of several places; merged from their files whenever one is asked for."""

    def __init__(self, evaluation: Evaluation, places: Sequence[str]) -> None:
        self._empty = evaluation.create()
        self._places = tuple(places)

    def __getitem__(self, name: str) -> State:
        """Returns a state, which nothing else holds.

        Raises:
            DataLossError: A file is not there.
        """
        kind: Any = type(self._empty[name])
        if len(self._places) == 1:
            return kind.from_table(_read(self._places[0], name))
        merged, waiting, waiting_bytes = self._empty[name], [], 0
        for place in self._places:
            part = kind.from_table(_read(place, name))
            waiting.append(part)
            waiting_bytes += part.nbytes
            del part
            if waiting_bytes > max(merged.nbytes, _FEW_BYTES):
                merged = kind.merge([merged, *waiting])
                waiting, waiting_bytes = [], 0
        return kind.merge([merged, *waiting]) if waiting else merged

    def __iter__(self) -> Iterator[str]:
        """Yields the names of the states."""
        return iter(self._empty)

    def __len__(self) -> int:
        """Returns how many states there are."""
        return len(self._empty)


class SpillingAccumulator:
    """Adds up states, most of them in files; not safe for use by several threads."""

    def __init__(
        self,
        evaluation: Evaluation,
        scratch: str,
        *,
        max_held_bytes: int = _MAX_HELD_BYTES,
        max_places: int = _MAX_PLACES,
    ) -> None:
        """Holds nothing yet.

        Args:
            evaluation: Whose states these are.
            scratch: Directory that the workers share, and that goes with the job.
            max_held_bytes: States that take more are written.
            max_places: More are merged into one.
        """
        self._evaluation, self._scratch = evaluation, scratch
        self._max_held_bytes, self._max_places = max_held_bytes, max_places
        self._held: Accumulator | None = None
        self._places: list[str] = []

    def add(self, states: States) -> None:
        """Adds the states of some rows."""
        if self._held is None:
            self._held = Accumulator(self._evaluation)
        self._held.add(states)
        if self._held.nbytes > self._max_held_bytes:
            self._spill()

    def finish(self) -> list[str]:
        """Writes what is still held; returns where all is, for `SpilledStates`."""
        self._spill()
        return self._places

    def _spill(self) -> None:
        if self._held is None:
            return
        self._places.append(spill(self._held.merged(), self._scratch))
        self._held = None
        release_unused_memory()
        if len(self._places) > self._max_places:
            merged = spill(SpilledStates(self._evaluation, self._places), self._scratch)
            for place in self._places:  # which nobody else was told of
                delete_tree(place)
            self._places = [merged]


def spill(states: States, scratch: str) -> str:
    """Writes states, each to a file of its own; returns where to."""
    place = f"{scratch}/{_DIRECTORY}/{uuid.uuid4().hex}"
    for name in states:
        _write(place, name, states[name].to_table())
    return place


def _write(place: str, name: str, table: pa.Table) -> None:
    with (
        create_file(place, _path(place, name)) as sink,
        pa.ipc.new_stream(sink, table.schema) as writer,
    ):
        writer.write_table(table.combine_chunks())


def _read(place: str, name: str) -> pa.Table:
    content = read_bytes(_path(place, name))
    if content is None:
        raise DataLossError(
            f"{_path(place, name)} is gone: the scratch directory was deleted while the job ran; run it again"
        )
    with pa.ipc.open_stream(content) as reader:
        return reader.read_all()


def _path(place: str, name: str) -> str:
    return f"{place}/{name}.arrow"

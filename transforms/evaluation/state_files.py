"""The files that an evaluation can be told from again: its states as Parquet, and what they mean.

`states/<name>.parquet` hold the states, `states/slices.parquet` what the slices' numbers stand for.
`states/evaluation.json` is written last: a directory with one has them all.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from servable_core.errors import DataLossError, NotFoundError
from servable_core.runtime.memory import release_unused_memory
from transforms.evaluation.evaluation_setup import EvaluationSetup
from transforms.evaluation.slice_catalog import SliceCatalog
from transforms.metrics import Evaluation, States, create_evaluation
from transforms.storage import absolute_path, create_file, read_bytes, write_bytes

STATES_DIRECTORY = "states"
EVALUATION_FILE = "evaluation.json"
_SLICES = "slices"
_SCHEMA = "eval.states/2"
# Encoding and decoding take several times as much.
_GROUP_BYTES = 16 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedEvaluation:
    """All that is known of an evaluation when its rows have gone by.

    Attributes:
        setup: What was measured.
        catalog: What the slices' numbers stand for.
        states: Of all rows.
        facts: Where models and data come from, for the report and the verdict.
        sha256: Digest of all of it, where it was read from files.
    """

    setup: EvaluationSetup
    catalog: SliceCatalog
    states: States
    facts: Mapping[str, Any]
    sha256: str = ""

    def evaluation(self) -> Evaluation:
        """Returns what finalises the states."""
        return create_evaluation(self.setup.options())


def write_states(saved: SavedEvaluation, output: str) -> None:
    """Writes the states below `output`; equal rows give equal bytes."""
    digests = {}
    for name in saved.states:
        # Never two at a time: they may be made when asked for, and together take much memory.
        digests[name] = _write_table(output, name, saved.states[name].to_table())
        release_unused_memory()
    digests[_SLICES] = _write_table(output, _SLICES, saved.catalog.to_table())
    document = {
        "schema": _SCHEMA,
        "setup": saved.setup.to_document(),
        "facts": saved.facts,
        "sha256": digests,
    }
    content = json.dumps(document, indent=2, sort_keys=True).encode()
    write_bytes(output, f"{output}/{STATES_DIRECTORY}/{EVALUATION_FILE}", content + b"\n")


def read_states(directory: str) -> SavedEvaluation:
    """Reads the states of an evaluation.

    Args:
        directory: Its output directory, or the directory `states` in there.

    Raises:
        NotFoundError: There are none, or not all of them: it did not end.
        DataLossError: They are damaged, or of another release.
    """
    directory, content = _find(absolute_path(directory))
    try:
        document = json.loads(content)
        if document["schema"] != _SCHEMA:
            raise DataLossError(
                f"{directory} has states of schema {document['schema']}, of another release; this one reads {_SCHEMA}: evaluate again, or decide with the release that wrote them"
            )
        setup = EvaluationSetup.from_document(document["setup"])
        tables = _StateTables(directory, document["sha256"])
        catalog = SliceCatalog.from_table(tables[_SLICES])
    except (KeyError, TypeError, ValueError, pa.ArrowInvalid) as error:
        raise DataLossError(
            f"the states in {directory} are damaged ({type(error).__name__}: {error}); evaluate again"
        ) from error
    states = create_evaluation(setup.options()).from_tables(tables)
    return SavedEvaluation(
        setup=setup,
        catalog=catalog,
        states=states,
        facts=document["facts"],
        sha256=hashlib.sha256(content).hexdigest(),
    )


class _StateTables(Mapping[str, pa.Table]):
    """The tables of states, each read when it is asked for: together they take much memory."""

    def __init__(self, directory: str, digests: Mapping[str, str]) -> None:
        self._directory, self._digests = directory, dict(digests)

    def __getitem__(self, name: str) -> pa.Table:
        release_unused_memory()  # what decoding the one before took
        pa.default_memory_pool().release_unused()
        return _read_table(self._directory, name, self._digests[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._digests)

    def __len__(self) -> int:
        return len(self._digests)


def has_states(output: str) -> bool:
    """Whether an evaluation has ended in this directory."""
    return read_bytes(f"{output}/{STATES_DIRECTORY}/{EVALUATION_FILE}") is not None


def _find(directory: str) -> tuple[str, bytes]:
    for place in (f"{directory}/{STATES_DIRECTORY}", directory):
        content = read_bytes(f"{place}/{EVALUATION_FILE}")
        if content is not None:
            return place, content
    raise NotFoundError(
        f"{directory} holds no evaluation: it has no {STATES_DIRECTORY}/{EVALUATION_FILE}; give the --output of an evaluate job that has ended"
    )


def _write_table(output: str, name: str, table: pa.Table) -> str:
    with create_file(output, f"{output}/{STATES_DIRECTORY}/{name}.parquet") as sink:
        pq.write_table(table, sink, compression="zstd", row_group_size=_group_rows(table))
    return sink.written().sha256


def _group_rows(table: pa.Table) -> int:
    """Returns how many rows are encoded, and decoded, at a time."""
    return max(1, len(table) * _GROUP_BYTES // max(1, table.nbytes))


def _read_table(directory: str, name: str, digest: str) -> pa.Table:
    content = read_bytes(f"{directory}/{name}.parquet")
    if content is None or hashlib.sha256(content).hexdigest() != digest:
        raise DataLossError(
            f"{directory}/{name}.parquet is missing or is not the one that {EVALUATION_FILE} names; evaluate again"
        )
    with pq.ParquetFile(pa.BufferReader(content)) as file:
        groups = [
            file.read_row_group(each, use_threads=False) for each in range(file.num_row_groups)
        ]
        return pa.concat_tables([file.schema_arrow.empty_table(), *groups])

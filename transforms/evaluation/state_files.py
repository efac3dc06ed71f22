"""The files that an evaluation can be told from again: its states as Parquet, and what they mean.

`states/<name>.parquet` hold the states, `states/slices.parquet` what the slices' numbers stand for.
`states/evaluation.json` is written last: a directory with one has them all.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from servable_core.errors import DataLossError, NotFoundError
from transforms.evaluation.evaluation_setup import EvaluationSetup
from transforms.evaluation.slice_catalog import SliceCatalog
from transforms.metrics import Evaluation, States, create_evaluation
from transforms.storage import absolute_path, read_bytes, write_bytes

STATES_DIRECTORY = "states"
EVALUATION_FILE = "evaluation.json"
_SLICES = "slices"
_SCHEMA = "eval.states/1"


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedEvaluation:
    """All that is known of an evaluation when its rows have gone by.

    Attributes:
        setup: What was measured.
        catalog: What the slices' numbers stand for.
        states: Of all rows.
        facts: Where models and data come from, for the report and the verdict.
    """

    setup: EvaluationSetup
    catalog: SliceCatalog
    states: States
    facts: Mapping[str, Any]

    def evaluation(self) -> Evaluation:
        """Returns what finalises the states."""
        return create_evaluation(self.setup.options())


def write_states(saved: SavedEvaluation, output: str) -> None:
    """Writes the states below `output`; equal rows give equal bytes."""
    tables = saved.evaluation().to_tables(saved.states)
    digests = {
        name: _write_table(output, name, table)
        for name, table in {**tables, _SLICES: saved.catalog.to_table()}.items()
    }
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
                f"{directory} has states of schema {document['schema']}, this release reads {_SCHEMA}; evaluate again"
            )
        setup = EvaluationSetup.from_document(document["setup"])
        tables = {
            name: _read_table(directory, name, digest)
            for name, digest in document["sha256"].items()
        }
        catalog = SliceCatalog.from_table(tables.pop(_SLICES))
    except (KeyError, TypeError, ValueError, pa.ArrowInvalid) as error:
        raise DataLossError(f"the states in {directory} are damaged ({error!r})") from error
    states = create_evaluation(setup.options()).from_tables(tables)
    return SavedEvaluation(setup=setup, catalog=catalog, states=states, facts=document["facts"])


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
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    content = sink.getvalue()
    write_bytes(output, f"{output}/{STATES_DIRECTORY}/{name}.parquet", content)
    return hashlib.sha256(content).hexdigest()


def _read_table(directory: str, name: str, digest: str) -> pa.Table:
    content = read_bytes(f"{directory}/{name}.parquet")
    if content is None or hashlib.sha256(content).hexdigest() != digest:
        raise DataLossError(
            f"{directory}/{name}.parquet is missing or is not the one that {EVALUATION_FILE} names; evaluate again"
        )
    return pq.read_table(io.BytesIO(content))

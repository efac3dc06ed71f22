"""The plan: all that a job will do, written before the first unit and read by every worker.

`_plan/plan.json` holds models and options, `_plan/inputs.parquet` and `_plan/units.parquet` the tables
that may be long. plan.json is written last: a directory with one has a whole plan.
"""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from servable_core.errors import FailedPreconditionError
from servable_core.lifecycle import ServableId
from transforms.storage import read_bytes, write_bytes

FORMAT_VERSION = 1
PLAN_DIRECTORY = "_plan"
PLAN_FILE = f"{PLAN_DIRECTORY}/plan.json"
_INPUTS_FILE = f"{PLAN_DIRECTORY}/inputs.parquet"
_UNITS_FILE = f"{PLAN_DIRECTORY}/units.parquet"


@dataclass(frozen=True, kw_only=True, slots=True)
class PinnedModel:
    """One version of a model, as it was when the plan was made.

    Attributes:
        name: Servable name.
        version: Version number.
        path: Version directory, local or a URI.
        fingerprint: What workers must find there.
    """

    name: str
    version: int
    path: str
    fingerprint: str

    @property
    def servable_id(self) -> ServableId:
        """Returns name and version."""
        return ServableId(self.name, self.version)


@dataclass(frozen=True, kw_only=True, slots=True)
class InputFile:
    """An input file, as it was when the plan was made.

    Attributes:
        path: Local path or URI.
        size_bytes: Its length.
        mtime_secs: Its last change; 0 where the store does not tell.
    """

    path: str
    size_bytes: int
    mtime_secs: float


@dataclass(frozen=True, kw_only=True, slots=True)
class UnitRange:
    """A stretch of one input file.

    Attributes:
        file_index: Index in the plan's inputs.
        first_group: First row group; 0 for TFRecord.
        end_group: Row group after the last; 0 for TFRecord, whose files are read whole.
        first_row: Index in the file of the first row.
        num_rows: Rows to read, or -1 for all that are there (TFRecord does not tell in advance).
        size_bytes: About how many bytes are read.
    """

    file_index: int
    first_group: int
    end_group: int
    first_row: int
    num_rows: int
    size_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """What one worker reads, infers and commits at a time.

    Attributes:
        index: Position in the plan, from 0.
        ranges: What it reads, in order.
    """

    index: int
    ranges: tuple[UnitRange, ...]

    @property
    def num_rows(self) -> int | None:
        """Returns the rows that must be read, or None when only reading tells."""
        rows = [each.num_rows for each in self.ranges]
        return None if -1 in rows else sum(rows)

    @property
    def size_bytes(self) -> int:
        """Returns about how many bytes are read."""
        return sum(each.size_bytes for each in self.ranges)


@dataclass(frozen=True, kw_only=True, slots=True)
class ContentOptions:
    """The options that decide what is written; all others may differ when a job is resumed.

    Attributes:
        input_format: "parquet" or "tfrecord".
        signature_name: The signature that is run.
        input_map: `--input_map` entries as given.
        key: Column that identifies a row, or None for source_file and source_row.
        passthrough: Further columns to copy.
        output_tensors: `--output_tensors` entries as given.
        preprocess: `package.module:function` or None.
        postprocess: Likewise.
        deterministic_batch_size: Rows of a batch if batches are cut at fixed offsets, else None.
        deterministic_threads: TensorFlow's (intra-op, inter-op) threads if recorded, else None.
    """

    input_format: str
    signature_name: str
    input_map: tuple[str, ...]
    key: str | None
    passthrough: tuple[str, ...]
    output_tensors: tuple[str, ...]
    preprocess: str | None
    postprocess: str | None
    deterministic_batch_size: int | None
    deterministic_threads: tuple[int, int] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A job, decided.

    Attributes:
        models: Versions to run, each over every unit.
        inputs: Input files.
        units: The work.
        content: Options that decide what is written.
        read_columns: Columns or features to read.
        features: For TFRecord, how each of them is parsed: name to (Arrow type, length or None).
        reads_records: Whether serialized Examples are fed to a model as they are.
        batch_size_hint: Rows of a batch when no size is asked for.
        flags: The command line's own words for what was asked, to find conflicts when resuming.
        plan_id: Digest of all of it; receipts name it.
    """

    models: tuple[PinnedModel, ...]
    inputs: tuple[InputFile, ...]
    units: tuple[Unit, ...]
    content: ContentOptions
    read_columns: tuple[str, ...]
    features: Mapping[str, tuple[str, int | None]]
    reads_records: bool
    batch_size_hint: int
    flags: Mapping[str, Any]
    plan_id: str = ""

    @property
    def num_rows(self) -> int | None:
        """Returns the rows of all units, or None when only reading tells."""
        rows = [unit.num_rows for unit in self.units]
        return None if None in rows else sum(each for each in rows if each is not None)

    @property
    def size_bytes(self) -> int:
        """Returns about how many bytes all units read."""
        return sum(unit.size_bytes for unit in self.units)


def write_plan(plan: Plan, output: str) -> Plan:
    """Writes the plan below `output` and returns it with its id."""
    inputs = _table_bytes([asdict(each) for each in plan.inputs])
    units = _table_bytes(_unit_rows(plan.units))
    write_bytes(output, f"{output}/{_INPUTS_FILE}", inputs)
    write_bytes(output, f"{output}/{_UNITS_FILE}", units)
    document = {
        "format_version": FORMAT_VERSION,
        "models": [asdict(each) for each in plan.models],
        "content": asdict(plan.content),
        "read_columns": list(plan.read_columns),
        "features": dict(plan.features),
        "reads_records": plan.reads_records,
        "batch_size_hint": plan.batch_size_hint,
        "flags": dict(plan.flags),
        "num_inputs": len(plan.inputs),
        "num_units": len(plan.units),
        "inputs_sha256": hashlib.sha256(inputs).hexdigest(),
        "units_sha256": hashlib.sha256(units).hexdigest(),
    }
    content = json.dumps(document, indent=2).encode()
    write_bytes(output, f"{output}/{PLAN_FILE}", content)
    return _with_id(plan, content)


def read_plan(output: str) -> Plan | None:
    """Reads the plan below `output`; None when there is none.

    Raises:
        FailedPreconditionError: It was written by another version of this program, or is damaged.
    """
    content = read_bytes(f"{output}/{PLAN_FILE}")
    if content is None:
        return None
    place = f"the plan in {output}/{PLAN_DIRECTORY}"
    try:
        document = json.loads(content)
        if document["format_version"] != FORMAT_VERSION:
            raise FailedPreconditionError(
                f"{place} has format version {document['format_version']}, this program writes {FORMAT_VERSION}: resume with the program that began the job, or start anew with --if_exists=overwrite"
            )
        inputs = _read_table(output, _INPUTS_FILE, document["inputs_sha256"])
        units = _read_table(output, _UNITS_FILE, document["units_sha256"])
        return _with_id(_parse_plan(document, inputs, units), content)
    except (KeyError, TypeError, ValueError, AttributeError, pa.ArrowInvalid) as error:
        raise FailedPreconditionError(
            f"{place} is damaged ({error}): start anew with --if_exists=overwrite"
        ) from error


def _parse_plan(document: Any, inputs: list[Any], units: list[Any]) -> Plan:
    return Plan(
        models=tuple(PinnedModel(**each) for each in document["models"]),
        inputs=tuple(InputFile(**each) for each in inputs),
        units=_units_from_rows(units),
        content=_parse_content(document["content"]),
        read_columns=tuple(document["read_columns"]),
        features={name: (each[0], each[1]) for name, each in document["features"].items()},
        reads_records=document["reads_records"],
        batch_size_hint=document["batch_size_hint"],
        flags=document["flags"],
    )


def _parse_content(fields: Mapping[str, Any]) -> ContentOptions:
    lists = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
    return ContentOptions(**{**fields, **lists})


def _with_id(plan: Plan, content: bytes) -> Plan:
    fields = {name: getattr(plan, name) for name in Plan.__slots__}
    return Plan(**{**fields, "plan_id": hashlib.sha256(content).hexdigest()[:16]})


def _unit_rows(units: Sequence[Unit]) -> list[dict[str, int]]:
    return [{"unit_index": unit.index, **asdict(each)} for unit in units for each in unit.ranges]


def _units_from_rows(rows: Sequence[dict[str, int]]) -> tuple[Unit, ...]:
    ranges: dict[int, list[UnitRange]] = {}
    for row in rows:
        fields = {name: value for name, value in row.items() if name != "unit_index"}
        ranges.setdefault(row["unit_index"], []).append(UnitRange(**fields))
    return tuple(Unit(index=index, ranges=tuple(each)) for index, each in sorted(ranges.items()))


def _table_bytes(rows: list[dict[str, Any]]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return sink.getvalue()


def _read_table(output: str, name: str, sha256: str) -> list[Any]:
    content = read_bytes(f"{output}/{name}")
    if content is None or hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(f"{name} is missing or does not match plan.json")
    rows: list[Any] = pq.read_table(io.BytesIO(content)).to_pylist()
    return rows

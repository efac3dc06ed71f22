"""The plan: all that a job will do, written before the first unit and read by every worker.

`_plan/plan.json` holds models and options, `_plan/inputs.parquet` and `_plan/units.parquet` the tables
that may be long. plan.json is written last: a directory with one has a whole plan.
"""

import gc
import hashlib
import io
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from servable_core.errors import FailedPreconditionError
from servable_core.lifecycle import ServableId
from transforms.storage import read_bytes, write_bytes

FORMAT_VERSION = 2
PLAN_DIRECTORY = "_plan"
PLAN_FILE = f"{PLAN_DIRECTORY}/plan.json"
_INPUTS_FILE = f"{PLAN_DIRECTORY}/inputs.parquet"
_UNITS_FILE = f"{PLAN_DIRECTORY}/units.parquet"
_INPUT_COLUMNS = pa.schema(
    [("path", pa.string()), ("size_bytes", pa.int64()), ("mtime_secs", pa.float64())]
)
_UNIT_COLUMNS = pa.schema(
    [
        (name, pa.int64())
        for name in (
            "unit_index",
            "file_index",
            "first_group",
            "end_group",
            "first_row",
            "num_rows",
            "size_bytes",
            "first_byte",
            "end_byte",
        )
    ]
)
_MAX_KNOWN_PLANS = 2


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
        end_group: Row group after the last; 0 for TFRecord.
        first_row: Index in the file of the first row.
        num_rows: Rows to read, or -1 for all that are there (TFRecord does not tell in advance).
        size_bytes: About how many bytes are read.
        first_byte: Where the first record (its frame, in TFRecord) begins; 0 for Parquet.
        end_byte: Where the last one ends; -1 for the end of the file, and for Parquet.
    """

    file_index: int
    first_group: int
    end_group: int
    first_row: int
    num_rows: int
    size_bytes: int
    first_byte: int = 0
    end_byte: int = -1


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
        input_format: "parquet", "tfrecord", "csv" or "jsonl".
        signature_name: The signature that is run; several, as `a,b`.
        input_map: `--input_map` entries as given.
        key: Column that identifies a row, or None for source_file and source_row.
        passthrough: Further columns to copy.
        output_tensors: `--output_tensors` entries as given.
        preprocess: `package.module:function` or None.
        postprocess: Likewise.
        deterministic_batch_size: Rows of a batch if batches are cut at fixed offsets, else None.
        deterministic_threads: TensorFlow's (intra-op, inter-op) threads if recorded, else None.
        deterministic_batch_cells: As the batch size, but cells, where inputs are ragged.
        crc: "check" or "ignore": whether the checksums of TFRecords are verified.
        jit_compile: Whether XLA compiles the models.
        mixed_precision: Whether models compute in 16 bits where TensorFlow holds that harmless.
        on_error: "fail", or "dead_letter" for records that fail to be put aside.
        pad_variable_length_inputs: Whether lists of varying length are padded, also for inputs
            without a mask or lengths.
        pad_values: `--pad_values` entries as given.
        length_ladder: Lengths to pad to; empty for the default ones.
        output_format: One of `OUTPUT_FORMATS`.
        log_inputs: Whether requests are logged beside responses.
        method: One of `METHODS`.
        sample: Share of the rows that is read, chosen by their files and numbers; None for all.
        sample_seed: Another one gives another sample.
        on_null: `--on_null` as given.
        dedupe: Whether rows of equal inputs share one computation.
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
    deterministic_batch_cells: int | None = None
    on_error: str = "fail"
    crc: str = "check"
    jit_compile: bool = False
    mixed_precision: bool = False
    pad_variable_length_inputs: bool = False
    pad_values: tuple[str, ...] = ()
    length_ladder: tuple[int, ...] = ()
    output_format: str = "parquet"
    log_inputs: bool = False
    method: str = "predict"
    sample: float | None = None
    sample_seed: int = 0
    on_null: str = "error"
    dedupe: bool = False

    @property
    def keeps_bad_records(self) -> bool:
        """Whether records that fail are put aside, and the others go on."""
        return self.on_error == "dead_letter"


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A job, decided.

    Attributes:
        models: Versions to run, each over every unit.
        inputs: Input files.
        units: The work.
        content: Options that decide what is written.
        read_columns: Columns or features to read.
        features: But for Parquet, how each of them is parsed: name to (Arrow type, length or None,
            whether it is a sequence).
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
    features: Mapping[str, tuple[str, int | None, bool]]
    reads_records: bool
    batch_size_hint: int
    flags: Mapping[str, Any]
    plan_id: str = ""

    @property
    def num_rows(self) -> int | None:
        """Returns the rows of all units, or None when only reading tells."""
        rows = [self.planned_rows(unit) for unit in self.units]
        return None if None in rows else sum(each for each in rows if each is not None)

    def planned_rows(self, unit: Unit) -> int | None:
        """Returns the rows that must be read of a unit, or None when only reading tells."""
        return None if self.content.sample is not None else unit.num_rows

    @property
    def size_bytes(self) -> int:
        """Returns about how many bytes all units read."""
        return sum(unit.size_bytes for unit in self.units)


def write_plan(plan: Plan, output: str) -> Plan:
    """Writes the plan below `output` and returns it with its id."""
    inputs = _table_bytes(_input_columns(plan.inputs), _INPUT_COLUMNS)
    units = _table_bytes(_unit_columns(plan.units), _UNIT_COLUMNS)
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
    return _known_plans.get(output, content, lambda: _with_id(plan, content))


def read_plan(output: str) -> Plan | None:
    """Reads the plan below `output`, checking all of its files; None when there is none.

    Raises:
        FailedPreconditionError: It was written by another version of this program, or is damaged.
    """
    content = read_bytes(f"{output}/{PLAN_FILE}")
    return None if content is None else _read_plan(output, content)


def shared_plan(output: str) -> Plan | None:
    """Returns the plan below `output` as this process knows it; reads its tables only if it must.

    For workers: the launcher has checked the tables, and each stage asks for the plan anew.

    Raises:
        FailedPreconditionError: As `read_plan`.
    """
    content = read_bytes(f"{output}/{PLAN_FILE}")
    if content is None:
        return None
    return _known_plans.get(output, content, lambda: _read_plan(output, content))


class _KnownPlans:
    """The plans that this process has used last, by place and content of plan.json. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # Held while a plan is made: all others want the same one.
        self._plans: OrderedDict[tuple[str, str], Plan] = OrderedDict()  # Guarded by _lock.

    def get(self, output: str, content: bytes, make: Callable[[], Plan]) -> Plan:
        """Returns the plan whose plan.json is `content`, from `make` if it is not known."""
        key = (output, hashlib.sha256(content).hexdigest())
        with self._lock:
            plan = self._plans.get(key)
            if plan is None:
                plan = make()
            self._plans[key] = plan
            self._plans.move_to_end(key)
            while len(self._plans) > _MAX_KNOWN_PLANS:
                self._plans.popitem(last=False)
            return plan


_known_plans = _KnownPlans()


def _read_plan(output: str, content: bytes) -> Plan:
    place = f"the plan in {output}/{PLAN_DIRECTORY}"
    try:
        document = json.loads(content)
        if document["format_version"] != FORMAT_VERSION:
            raise FailedPreconditionError(
                f"{place} has format version {document['format_version']}, this program writes {FORMAT_VERSION}: resume with the program that began the job, or delete the directory and start anew"
            )
        inputs = _checked_bytes(output, _INPUTS_FILE, document["inputs_sha256"])
        units = _checked_bytes(output, _UNITS_FILE, document["units_sha256"])
        return _known_plans.get(
            output, content, lambda: _with_id(_parse_plan(document, inputs, units), content)
        )
    except (KeyError, TypeError, ValueError, AttributeError, pa.ArrowInvalid) as error:
        raise FailedPreconditionError(
            f"{place} is damaged ({error}): delete the directory, or give another --output"
        ) from error


def _parse_plan(document: Any, inputs: bytes, units: bytes) -> Plan:
    with _collector_at_rest():
        files, work = _parse_inputs(inputs), _parse_units(units)
    return Plan(
        models=tuple(PinnedModel(**each) for each in document["models"]),
        inputs=files,
        units=work,
        content=_parse_content(document["content"]),
        read_columns=tuple(document["read_columns"]),
        features={name: tuple(each) for name, each in document["features"].items()},
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


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """Keeps the garbage collector from walking a long plan again and again while it grows."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _input_columns(inputs: Sequence[InputFile]) -> list[list[Any]]:
    return [
        [each.path for each in inputs],
        [each.size_bytes for each in inputs],
        [each.mtime_secs for each in inputs],
    ]


def _parse_inputs(content: bytes) -> tuple[InputFile, ...]:
    return tuple(
        InputFile(path=path, size_bytes=size_bytes, mtime_secs=mtime_secs)
        for path, size_bytes, mtime_secs in zip(*_columns(content, _INPUT_COLUMNS), strict=True)
    )


def _unit_columns(units: Sequence[Unit]) -> list[list[int]]:
    ranges = [each for unit in units for each in unit.ranges]
    return [
        [unit.index for unit in units for _ in unit.ranges],
        [each.file_index for each in ranges],
        [each.first_group for each in ranges],
        [each.end_group for each in ranges],
        [each.first_row for each in ranges],
        [each.num_rows for each in ranges],
        [each.size_bytes for each in ranges],
        [each.first_byte for each in ranges],
        [each.end_byte for each in ranges],
    ]


def _parse_units(content: bytes) -> tuple[Unit, ...]:
    ranges: dict[int, list[UnitRange]] = {}
    rows = zip(*_columns(content, _UNIT_COLUMNS), strict=True)
    names = _UNIT_COLUMNS.names[1:]
    for unit_index, *values in rows:
        each = UnitRange(**dict(zip(names, values, strict=True)))
        ranges.setdefault(unit_index, []).append(each)
    return tuple(Unit(index=index, ranges=tuple(each)) for index, each in sorted(ranges.items()))


def _table_bytes(columns: Sequence[Sequence[Any]], schema: pa.Schema) -> bytes:
    arrays = [pa.array(each, field.type) for each, field in zip(columns, schema, strict=True)]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), sink)
    return sink.getvalue()


def _columns(content: bytes, schema: pa.Schema) -> list[list[Any]]:
    table = pq.read_table(io.BytesIO(content))
    return [_values(table.column(name)) for name in schema.names]


def _values(column: pa.ChunkedArray) -> list[Any]:
    """Returns the values; by way of NumPy, which is ten times as fast as Arrow's scalars."""
    values: list[Any] = column.to_numpy().tolist()
    return values


def _checked_bytes(output: str, name: str, sha256: str) -> bytes:
    content = read_bytes(f"{output}/{name}")
    if content is None or hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(f"{name} is missing or does not match plan.json")
    return content

"""The files of a plan, which is written before the first unit and read by every worker.

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
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from servable_core.errors import AbortedError, FailedPreconditionError
from transforms.content_options import ContentOptions
from transforms.plan import InputFile, PinnedModel, Plan
from transforms.storage import read_bytes, write_bytes
from transforms.unit_table import UNIT_COLUMNS, UnitTable

FORMAT_VERSION = 2
PLAN_DIRECTORY = "_plan"
PLAN_FILE = f"{PLAN_DIRECTORY}/plan.json"
_INPUTS_FILE = f"{PLAN_DIRECTORY}/inputs.parquet"
_UNITS_FILE = f"{PLAN_DIRECTORY}/units.parquet"
_INPUT_COLUMNS = pa.schema(
    [("path", pa.string()), ("size_bytes", pa.int64()), ("mtime_secs", pa.float64())]
)
_UNIT_SCHEMA = pa.schema([(name, pa.int64()) for name in UNIT_COLUMNS])
_MAX_KNOWN_PLANS = 2


def write_plan(plan: Plan, output: str) -> Plan:
    """Writes the plan below `output` and returns it with its id."""
    inputs = _table_bytes(_input_columns(plan.inputs), _INPUT_COLUMNS)
    units = _table_bytes(list(plan.units.columns.values()), _UNIT_SCHEMA)
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


def check_in_place(plan: Plan, output: str) -> None:
    """Checks that the plan below `output` is still this one; a plan that was never written always is.

    Raises:
        AbortedError: It is another job's, or gone.
    """
    if not plan.plan_id:
        return
    content = read_bytes(f"{output}/{PLAN_FILE}")
    if content is None or _plan_id(content) != plan.plan_id:
        raise AbortedError(
            f"{output} belongs to another job: its plan was {'deleted' if content is None else 'replaced'} while this job ran; nothing more is committed; choose another directory to run this job anew"
        )


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
        files = _parse_inputs(inputs)
    return Plan(
        models=tuple(PinnedModel(**each) for each in document["models"]),
        inputs=files,
        units=_parse_units(units),
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
    return Plan(**{**fields, "plan_id": _plan_id(content)})


def _plan_id(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


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


def _parse_units(content: bytes) -> UnitTable:
    table = pq.read_table(io.BytesIO(content))
    return UnitTable({name: table.column(name).to_numpy() for name in UNIT_COLUMNS})


def _table_bytes(columns: Sequence[Any], schema: pa.Schema) -> bytes:
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

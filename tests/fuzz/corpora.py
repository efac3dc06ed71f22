"""The files that are damaged: small ones of every format, with what may be lost of each part."""

import gzip
import io
import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.datasets import to_examples
from tests.fuzz import mutations
from tests.record_frames import frame
from transforms.bad_records import BadRecord, Stage
from transforms.dead_letters import DEAD_LETTERS_DIRECTORY, ROW_TYPES_KEY, to_table

NUM_ROWS = 60
GROUP_ROWS = 12
_HEADER_BYTES = 12  # of a TFRecord: its length, and the length's checksum


@dataclass(frozen=True)
class Part:
    """A stretch of a file: damage in there, lengths kept, costs no other rows than these."""

    start: int
    end: int
    rows: range


@dataclass(frozen=True)
class Original:
    """A file before the damage.

    Attributes:
        name: Of the file, with its suffix.
        content: Its bytes.
        parts: Those of its parts to which damage is confined.
        flags: Options of jobs that read it, beside those of all.
        is_damaged: Whether what it holds is damaged already, and all else should be good.
    """

    name: str
    content: bytes
    parts: tuple[Part, ...]
    flags: dict[str, Any]
    is_damaged: bool = False


def columns() -> dict[str, np.ndarray]:
    """Returns the rows of every file: a key, two numbers for the model, and a text."""
    rng = np.random.default_rng(3)
    return {
        "id": np.arange(NUM_ROWS),
        "a": rng.normal(size=NUM_ROWS).astype(np.float32),
        "b": rng.normal(size=NUM_ROWS).astype(np.float32),
        "s": np.array([f"té xt {row}" for row in range(NUM_ROWS)], object),
    }


def _table() -> pa.Table:
    return pa.table(columns())


def of_other_types(rng: np.random.Generator) -> pa.Table:
    """Returns rows in which a column is not of the type that the model takes, or has nulls."""
    table = _table()
    a = table["a"]
    columns_of_other_types = [
        a.cast(pa.float64()),
        pa.array(range(NUM_ROWS)),
        pa.array([str(each) for each in a]),
        pa.array([[each] for each in a.to_pylist()]),
        pa.array([[each] * (row % 3) for row, each in enumerate(a.to_pylist())]),
        pa.array([{"a": each} for each in a.to_pylist()]),
        pa.array([None if row % 7 == 3 else each for row, each in enumerate(a.to_pylist())]),
        pa.nulls(NUM_ROWS),
        pa.array([1e300] * NUM_ROWS),
        pa.array([f"{each}".encode() + b"\xff" for each in a]),
    ]
    chosen = columns_of_other_types[int(rng.integers(len(columns_of_other_types)))]
    return table.set_column(table.schema.get_field_index("a"), "a", chosen)


def parquet(rng: np.random.Generator) -> Original:
    """A Parquet file with five row groups, of any writer's settings."""
    dictionary = bool(rng.integers(2))
    options: dict[str, Any] = {
        "compression": str(rng.choice(["none", "snappy", "zstd", "gzip", "lz4"])),
        "use_dictionary": dictionary,
        "data_page_version": str(rng.choice(["1.0", "2.0"])),
        "write_page_checksum": bool(rng.integers(2)),
        "write_statistics": bool(rng.integers(2)),
        "store_schema": bool(rng.integers(2)),
    }
    if not dictionary and rng.integers(2):
        options["column_encoding"] = {"id": "DELTA_BINARY_PACKED", "s": "DELTA_BYTE_ARRAY"}
    sink = io.BytesIO()
    table = _table() if rng.integers(10) else of_other_types(rng)
    pq.write_table(table, sink, row_group_size=GROUP_ROWS, data_page_size=64, **options)
    content = sink.getvalue()
    metadata = pq.read_metadata(io.BytesIO(content))
    parts = tuple(_chunks(metadata)) if table.schema == _table().schema else ()
    return Original("a.parquet", content, parts, {})


def _chunks(metadata: pq.FileMetaData) -> list[Part]:
    parts = []
    for group in range(metadata.num_row_groups):
        rows = range(group * GROUP_ROWS, (group + 1) * GROUP_ROWS)
        for index in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(index)
            start = chunk.data_page_offset
            if chunk.dictionary_page_offset:
                start = min(start, chunk.dictionary_page_offset)
            parts.append(Part(start, start + chunk.total_compressed_size, rows))
    return parts


def _records(rng: np.random.Generator) -> list[bytes]:
    """Returns the rows as Examples; in one of ten cases, some with a feature of another type."""
    given = _encoded(columns())
    records = to_examples(given)
    others = [given["id"], np.array([b"x"] * NUM_ROWS, object), np.ones((NUM_ROWS, 2), np.float32)]
    given["a"] = others[int(rng.integers(len(others)))]
    first, last = rng.integers(0, NUM_ROWS, 2).tolist() if not rng.integers(10) else (0, 0)
    return [*records[:first], *to_examples(given)[first:last], *records[max(first, last) :]]


def _encoded(given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return given | {"s": np.array([each.encode() for each in given["s"]], object)}


def tfrecord(rng: np.random.Generator) -> Original:
    """A TFRecord file; payloads and their checksums are what damage is confined to."""
    records = _records(rng)
    frames = [frame(each) for each in records]
    ends = np.cumsum([len(each) for each in frames]).tolist()
    parts = tuple(
        Part(end - len(each) + _HEADER_BYTES, end, range(row, row + 1))
        for row, (end, each) in enumerate(zip(ends, frames, strict=True))
    )
    flags = {"unit_bytes": 2000} if rng.integers(2) else {}
    is_good = records == to_examples(_encoded(columns()))
    return Original("a.tfrecord", b"".join(frames), parts if is_good else (), flags)


def tfrecord_gzip(rng: np.random.Generator) -> Original:
    """The same, compressed: nothing is confined to a part."""
    content = gzip.compress(b"".join(map(frame, _records(rng))), mtime=0)
    return Original("a.tfrecord.gz", content, (), {})


def _rows() -> list[dict[str, Any]]:
    return [
        {**row, "a": round(row["a"], 4), "b": round(row["b"], 4)} for row in _table().to_pylist()
    ]


def csv(rng: np.random.Generator) -> Original:
    """A CSV file, plain or compressed; some texts are quoted."""
    lines = [
        f"{row['id']},{row['a']},{row['b']},{row['s']}\n"
        if row["id"] % 3
        else f'{row["id"]},{row["a"]},{row["b"]},"{row["s"]}, ""so"""\n'
        for row in _rows()
    ]
    return _text("a.csv", ["id,a,b,s\n", *lines], -1, rng)


def json_lines(rng: np.random.Generator) -> Original:
    """JSON Lines, plain or compressed; in one of ten cases a row has a value of another type."""
    rows = _rows()
    is_spoiled = not rng.integers(10)
    if is_spoiled:
        values = ["text", None, [], [1.5], {"x": 1}, True, 10**30, float("nan"), "[" * 500]
        row, name = int(rng.integers(NUM_ROWS)), str(rng.choice(["a", "id", "s"]))
        rows[row][name] = values[int(rng.integers(len(values)))]
    lines = [json.dumps(row, ensure_ascii=bool(index % 2)) + "\n" for index, row in enumerate(rows)]
    original = _text("a.jsonl", lines, 0, rng)
    return replace(original, parts=()) if is_spoiled else original


def _text(name: str, lines: list[str], first_row: int, rng: np.random.Generator) -> Original:
    encoded = [each.encode() for each in lines]
    content = b"".join(encoded)
    if not rng.integers(4):
        return Original(f"{name}.gz", gzip.compress(content, mtime=0), (), {})
    ends = np.cumsum([len(each) for each in encoded]).tolist()
    parts = tuple(
        Part(end - len(each), end - 1, range(row, row + 1))
        for row, (end, each) in enumerate(zip(ends, encoded, strict=True), first_row)
        if row >= 0
    )
    return Original(name, content, parts, {})


def letters(rng: np.random.Generator) -> Original:
    """Dead letters of an earlier job: rows as JSON, or Examples; often some are damaged."""
    records = _records(rng) if rng.integers(2) else [json.dumps(each).encode() for each in _rows()]
    damage = (*mutations.ANYWHERE, *mutations.OF_FORMAT[".jsonl"] * 4)
    num_damaged = int(rng.integers(4))
    for _ in range(num_damaged):
        row = int(rng.integers(NUM_ROWS))
        records[row] = damage[int(rng.integers(len(damage)))](records[row], rng)
    table = to_table(
        [
            BadRecord(
                source_file="a",
                source_row=row,
                byte_offset=None,
                stage=Stage.READ,
                code="DATA_LOSS",
                message="damaged",
                record=record,
            )
            for row, record in enumerate(records)
        ]
    )
    types = json.dumps({"id": "int64", "a": "float", "b": "float", "s": "string"})
    sink = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({ROW_TYPES_KEY: types}), sink)
    name = f"{DEAD_LETTERS_DIRECTORY}/a.parquet"
    return Original(name, sink.getvalue(), (), {}, is_damaged=num_damaged > 1)


MAKERS = {
    "parquet": parquet,
    "tfrecord": tfrecord,
    "tfrecord_gzip": tfrecord_gzip,
    "csv": csv,
    "json_lines": json_lines,
    "letters": letters,
}

"""Columns of every type that outputs and pass-through columns may have, with nulls and without."""

import datetime as dt
import decimal

import pyarrow as pa

_DAY = dt.date(2024, 2, 29)
_TIME = dt.datetime(2024, 2, 29, 12, 30, 15, 123456, dt.UTC)

NUMBERS = {
    "int8": pa.array([1, -128, 127], pa.int8()),
    "int16": pa.array([1, -(2**15), 2**15 - 1], pa.int16()),
    "int32": pa.array([1, -(2**31), 2**31 - 1], pa.int32()),
    "int64": pa.array([1, -(2**63), 2**63 - 1], pa.int64()),
    "uint8": pa.array([0, 1, 255], pa.uint8()),
    "uint16": pa.array([0, 127, 128], pa.uint16()),
    "uint32": pa.array([0, 16384, 2**32 - 1], pa.uint32()),
    "uint64": pa.array([0, 1, 2**63 - 1], pa.uint64()),
    "half": pa.array([0.5, -2.0, 65504.0], pa.float16()),
    "float": pa.array([0.1, -1e-30, 3.4e38], pa.float32()),
    "double": pa.array([0.5, -2.0, 1024.0], pa.float64()),
    "bool": pa.array([True, False, True]),
    "null_int": pa.array([None, 7, None], pa.int64()),
    "null_float": pa.array([None, 0.25, None], pa.float32()),
    "null_bool": pa.array([None, False, True]),
}
TEXTS = {
    "string": pa.array(["", 'naïve "quoted" \\ and\n\tcontrol \x01', "日本"]),
    "large_string": pa.array(["a", "", "c"], pa.large_string()),
    "binary": pa.array([b"", b"\x00\xff\x80", b"text"]),
    "large_binary": pa.array([b"a", b"", b"c"], pa.large_binary()),
    "fixed_binary": pa.array([b"abc", b"def", b"\xff\x00g"], pa.binary(3)),
    "null_string": pa.array([None, "", "x"]),
    "raw_bytes": pa.array([b"abc", None, b"\xff"]),
    "dictionary": pa.array(["x", "y", "x"]).dictionary_encode(),
}
LISTS = {
    "list": pa.array([[1.5, 2.5], [], [3.5]], pa.list_(pa.float32())),
    "large_list": pa.array([[1, 2], [], [-3]], pa.large_list(pa.int64())),
    "fixed_list": pa.array([[1, 2], [3, 4], [5, 6]], pa.list_(pa.int32(), 2)),
    "matrix": pa.array(
        [[[1, 2], [3, 4]], [[5, 6], [7, 8]], [[9, 0], [1, 2]]],
        pa.list_(pa.list_(pa.float32(), 2), 2),
    ),
    "ragged_matrix": pa.array([[[1, 2], [3]], [[]], []], pa.list_(pa.list_(pa.int64()))),
    "texts": pa.array([["a", "b"], [], [""]], pa.list_(pa.string())),
    "blobs": pa.array([[b"a", b"\xff"], [], [b""]], pa.list_(pa.binary())),
    "flags": pa.array([[True], [False, True], []], pa.list_(pa.bool_())),
    "null_list": pa.array([[1.0], None, []], pa.list_(pa.float64())),
    "null_fixed_list": pa.array([[1.0, 2.0], None, [3.0, 4.0]], pa.list_(pa.float32(), 2)),
}
TIMES = {
    "date32": pa.array([_DAY, None, _DAY], pa.date32()),
    "date64": pa.array([_DAY, _DAY, None], pa.date64()),
    "time32": pa.array([1, 2, 3], pa.time32("s")),
    "time64": pa.array([1, 2, 3], pa.time64("us")),
    "timestamp": pa.array([_TIME, None, _TIME], pa.timestamp("us")),  # its time zone is dropped
    "utc": pa.array([_TIME, _TIME, _TIME], pa.timestamp("us", "UTC")),
    "duration": pa.array([1, 2, 3], pa.duration("ms")),
}
OTHERS = {
    "decimal": pa.array([decimal.Decimal("1.25"), None, decimal.Decimal("-3.50")]),
    "struct": pa.array([{"a": 1, "b": "x"}, None, {"a": None, "b": "\x02"}]),
    "map": pa.array([[("k", 1)], [], None], pa.map_(pa.string(), pa.int64())),
    "nothing": pa.nulls(3),
}
ALL = {**NUMBERS, **TEXTS, **LISTS, **TIMES, **OTHERS}

"""Input files for tests."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow


def write_parquet(
    table: pa.Table, directory: Path, file_rows: Sequence[int], row_group_rows: int
) -> list[str]:
    """Writes the rows in order, `file_rows` of them to each file, a file of 0 rows included.

    Returns:
        The paths, whose order is the order of the rows.
    """
    if sum(file_rows) != table.num_rows:
        raise ValueError(f"file_rows add up to {sum(file_rows)}, not {table.num_rows}")
    directory.mkdir(parents=True, exist_ok=True)
    paths, start = [], 0
    for index, rows in enumerate(file_rows):
        path = directory / f"part-{index:02d}.parquet"
        pq.write_table(table.slice(start, rows), path, row_group_size=row_group_rows)
        paths.append(str(path))
        start += rows
    return paths


def write_tfrecord(
    columns: Mapping[str, Any],
    path: str | Path,
    *,
    compression: str = "",
    rows: slice | None = None,
) -> str:
    """Writes rows as tf.train.Example: float, integer or bytes values, `[N]` or `[N, k]`."""
    tf = import_tensorflow()
    records = to_examples(columns)[rows or slice(None)]
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path), options=compression) as writer:
        for record in records:
            writer.write(record)
    return str(path)


def to_examples(columns: Mapping[str, Any]) -> list[bytes]:
    """Returns the rows as serialized Examples."""
    tf = import_tensorflow()
    examples = []
    for values in zip(*columns.values(), strict=True):
        example = tf.train.Example()
        for name, value in zip(columns, values, strict=True):
            _fill(example.features.feature[name], np.atleast_1d(value).tolist())
        examples.append(example.SerializeToString(deterministic=True))
    return examples


def _fill(feature: Any, values: list[Any]) -> None:
    if isinstance(values[0], bytes):
        feature.bytes_list.value.extend(values)
    elif isinstance(values[0], int):
        feature.int64_list.value.extend(values)
    else:
        feature.float_list.value.extend(values)

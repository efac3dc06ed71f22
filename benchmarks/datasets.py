"""The data of the workloads: each function writes one file of a data set, the same bytes every time."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines import demo_data

FEATURES = tuple(f"f{index:02d}" for index in range(32))
FEATURE_ROWS_PER_FILE = 250_000
FEATURE_ROW_GROUP_ROWS = 65_536

# Lengths of texts: most are short, a few are long, and padding to the longest costs most of the work.
LOG_LENGTH_MEAN, LOG_LENGTH_SIGMA = 3.6, 0.8
MIN_LENGTH, MAX_LENGTH = 4, 256
VOCABULARY_SIZE = 8000
RAGGED_ROW_GROUP_ROWS = 6250

IMAGE_SIZE = 32 * 32 * 3
IMAGE_ROW_GROUP_ROWS = 625


def write_tabular(path: Path, number: int, rows: int) -> None:
    """Writes `rows` rows of 32 float columns."""
    pq.write_table(_features(number, rows), path, row_group_size=FEATURE_ROW_GROUP_ROWS)


def write_demo(path: Path, number: int, rows: int) -> None:
    """Writes the rows of that file of the demo's table, of which the last file has a few more."""
    table = demo_data.load_table()
    is_last = (number + 2) * rows > table.num_rows
    pq.write_table(table.slice(number * rows, None if is_last else rows), path)


def write_examples(path: Path, number: int, rows: int) -> None:
    """Writes the first rows of the tabular file of that number as `tf.train.Example`s."""
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in _serialized_examples(_first_features(number, rows)):
            writer.write(record)


def write_ragged(path: Path, number: int, rows: int) -> None:
    """Writes `rows` lists of token ids, of log-normal lengths."""
    rng = np.random.default_rng([40, number])
    drawn = rng.lognormal(LOG_LENGTH_MEAN, LOG_LENGTH_SIGMA, rows)
    lengths = np.clip(np.rint(drawn), MIN_LENGTH, MAX_LENGTH)
    offsets = np.append(0, lengths.cumsum()).astype(np.int32)
    tokens = rng.integers(1, VOCABULARY_SIZE, offsets[-1], dtype=np.int32)  # 0 is padding
    columns = {"id": _ids(number, rows), "ids": pa.ListArray.from_arrays(offsets, tokens)}
    pq.write_table(pa.table(columns), path, row_group_size=RAGGED_ROW_GROUP_ROWS)


def write_images(path: Path, number: int, rows: int) -> None:
    """Writes `rows` decoded images as fixed-size lists of floats."""
    pixels = np.random.default_rng([30, number]).standard_normal(rows * IMAGE_SIZE, np.float32)
    columns = {
        "id": _ids(number, rows),
        "image": pa.FixedSizeListArray.from_arrays(pixels, IMAGE_SIZE),
    }
    pq.write_table(pa.table(columns), path, row_group_size=IMAGE_ROW_GROUP_ROWS)


def _ids(number: int, rows: int) -> np.ndarray:
    return np.arange(number * rows, (number + 1) * rows, dtype=np.int64)


def _features(number: int, rows: int) -> pa.Table:
    rng = np.random.default_rng([20, number])
    features = {name: rng.standard_normal(rows, dtype=np.float32) for name in FEATURES}
    return pa.table({"id": _ids(number, rows), **features})


def _first_features(number: int, rows: int) -> pa.Table:
    return _features(number, FEATURE_ROWS_PER_FILE).slice(0, rows)


def _serialized_examples(table: pa.Table) -> Iterator[bytes]:
    from tensorflow.core.example.example_pb2 import Example

    for row in table.to_pylist():
        example = Example()
        features = example.features.feature
        features["id"].int64_list.value.append(row["id"])
        for name in FEATURES:
            features[name].float_list.value.append(row[name])
        yield example.SerializeToString(deterministic=True)  # maps have no order of their own

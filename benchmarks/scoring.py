"""How the hand-written loops read and score one unit of work: a function for each kind of workload.

Each takes the model's signature, the size of a batch and a unit, yields what it scored, and is called
on several threads at the same time.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.datasets import FEATURES
from pipelines import demo_data

Predict = Callable[..., dict[str, Any]]
Scored = tuple[np.ndarray, np.ndarray]  # ids, predictions
RowGroup = tuple[Path, pq.FileMetaData, int]


def row_groups(files: list[Path]) -> Iterator[RowGroup]:
    """Yields every row group of `files`, with the footer that is read only once."""
    for path in files:
        footer = pq.read_metadata(path)
        yield from ((path, footer, group) for group in range(footer.num_row_groups))


def score_columns(predict: Predict, batch_size: int, row_group: RowGroup) -> Iterator[Scored]:
    """Feeds one tensor for each column."""
    import tensorflow as tf

    for batch in _batches(row_group, batch_size):
        features = {name: tf.constant(batch[name].to_numpy()) for name in FEATURES}
        yield batch["id"].to_numpy(), predict(**features)["score"].numpy()


def score_demo(predict: Predict, batch_size: int, row_group: RowGroup) -> Iterator[Scored]:
    """Feeds a matrix of one column for each of the demo's columns."""
    import tensorflow as tf

    for batch in _batches(row_group, batch_size):
        columns = {
            name: tf.constant(batch[name].to_numpy().reshape(-1, 1)) for name in demo_data.FEATURES
        }
        yield batch["id"].to_numpy(), predict(**columns)["probability"].numpy().ravel()


def score_images(predict: Predict, batch_size: int, row_group: RowGroup) -> Iterator[Scored]:
    """Feeds fixed-size lists as one matrix, which costs no copy before TensorFlow's own."""
    import tensorflow as tf

    for batch in _batches(row_group, batch_size):
        pixels = batch["image"].flatten().to_numpy().reshape(batch.num_rows, -1)
        yield batch["id"].to_numpy(), predict(image=tf.constant(pixels))["logits"].numpy()


def score_in_arrival_order(
    predict: Predict, batch_size: int, row_group: RowGroup
) -> Iterator[Scored]:
    """Feeds lists as they come, padded to the longest of the batch: what most would write."""
    for batch in _batches(row_group, batch_size):
        yield batch["id"].to_numpy(), _score_lists(predict, batch["ids"])


def score_longest_first(
    predict: Predict, batch_cells: int, row_group: RowGroup
) -> Iterator[Scored]:
    """Feeds lists sorted by length, as many at a time as fit into a number of padded cells.

    Yields the row group as a whole, in its own order.
    """
    table = _read(row_group)
    lists = table["ids"].combine_chunks()
    longest_first = np.argsort(lists.value_lengths().to_numpy(), kind="stable")[::-1]
    scores = np.empty(len(lists), np.float32)
    scores[longest_first] = _score_sorted(predict, batch_cells, lists.take(pa.array(longest_first)))
    yield table["id"].to_numpy(), scores


def score_records(predict: Predict, batch_size: int, file: Path) -> Iterator[Scored]:
    """Feeds serialized Examples, which the model parses itself."""
    import tensorflow as tf

    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    options.autotune.enabled = False
    records = tf.data.TFRecordDataset(str(file), buffer_size=1 << 20)
    for examples in records.batch(batch_size).with_options(options):
        outputs = predict(examples=examples)
        yield outputs["id"].numpy(), outputs["score"].numpy()


def padded(lists: pa.ListArray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the values in rows as long as the longest list, and a mask of 1 where a value is."""
    lengths = lists.value_lengths().to_numpy()
    is_value = np.arange(lengths.max()) < lengths[:, np.newaxis]
    values = np.zeros(is_value.shape, np.int32)
    values[is_value] = lists.flatten().to_numpy()
    return values, is_value.astype(np.float32)


def _score_sorted(predict: Predict, batch_cells: int, lists: pa.ListArray) -> np.ndarray:
    lengths, start, parts = lists.value_lengths().to_numpy(), 0, []
    while start < len(lists):
        rows = max(1, batch_cells // int(lengths[start]))
        parts.append(_score_lists(predict, lists.slice(start, rows)))
        start += rows
    return np.concatenate(parts)


def _score_lists(predict: Predict, lists: pa.ListArray) -> np.ndarray:
    import tensorflow as tf

    ids, mask = padded(lists)
    scores = predict(ids=tf.constant(ids), mask=tf.constant(mask))["score"]
    return np.asarray(scores.numpy())


def _batches(row_group: RowGroup, batch_size: int) -> list[pa.RecordBatch]:
    batches: list[pa.RecordBatch] = _read(row_group).to_batches(max_chunksize=batch_size)
    return batches


def _read(row_group: RowGroup) -> pa.Table:
    path, footer, group = row_group
    file = pq.ParquetFile(path, metadata=footer, memory_map=True)
    return file.read_row_group(group, use_threads=False)

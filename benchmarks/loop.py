"""The tuned loop that one would write by hand: threads that read, predict and write, and no framework.

`python -m benchmarks.loop tabular --threads=4` prints one line of JSON. Every thread takes a unit (a
Parquet row group, or a TFRecord file) off a shared queue, runs the model's signature over it in
large batches and appends the result to a Parquet file of its own. TensorFlow works outside the
interpreter lock, so there are as many threads as cores, each with one intra-op thread.
"""

import argparse
import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import checksum, machine, report, workloads

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SCHEMA = pa.schema([("id", pa.int64()), ("score", pa.float32())])

Predict = Callable[..., dict[str, Any]]
Scored = tuple[np.ndarray, np.ndarray]  # ids, scores
ScoreUnit = Callable[[Any], Iterable[Scored]]


class RowGroups:
    """Scores Parquet row groups with a signature that takes one tensor for each column."""

    signature = "columns"

    def __init__(self, predict: Predict, batch_size: int):
        self.predict = predict
        self.batch_size = batch_size

    def units(self, files: list[Path]) -> Iterator[tuple[Path, pq.FileMetaData, int]]:
        """Yields every row group of `files`, with the footer that is read only once."""
        for path in files:
            footer = pq.read_metadata(path)
            yield from ((path, footer, group) for group in range(footer.num_row_groups))

    def score(self, unit: tuple[Path, pq.FileMetaData, int]) -> Iterator[Scored]:
        """Yields the scored batches of one row group."""
        path, footer, group = unit
        file = pq.ParquetFile(path, metadata=footer, memory_map=True)
        table = file.read_row_group(group, use_threads=False)
        for batch in table.to_batches(max_chunksize=self.batch_size):
            yield batch["id"].to_numpy(), self._score_batch(batch)

    def _score_batch(self, batch: pa.RecordBatch) -> np.ndarray:
        import tensorflow as tf

        features = {name: tf.constant(batch[name].to_numpy()) for name in workloads.FEATURES}
        return self.predict(**features)["score"].numpy()


class RecordFiles:
    """Scores TFRecord files with a signature that parses the serialized Examples itself."""

    signature = "serving_default"

    def __init__(self, predict: Predict, batch_size: int):
        self.predict = predict
        self.batch_size = batch_size

    def units(self, files: list[Path]) -> list[Path]:
        """Returns the files themselves."""
        return files

    def score(self, unit: Path) -> Iterator[Scored]:
        """Yields the scored batches of one file."""
        for examples in self._batches(unit):
            outputs = self.predict(examples=examples)
            yield outputs["id"].numpy(), outputs["score"].numpy()

    def _batches(self, path: Path) -> Any:
        import tensorflow as tf

        options = tf.data.Options()
        options.threading.private_threadpool_size = 1
        options.autotune.enabled = False
        records = tf.data.TFRecordDataset(str(path), buffer_size=1 << 20)
        return records.batch(self.batch_size).with_options(options)


SCORERS = {"tabular": RowGroups, "tabular-small": RowGroups, "examples": RecordFiles}
BATCH_SIZES = {"tabular": 65_536, "tabular-small": 65_536, "examples": 8_192}


def load_signature(model_dir: Path, name: str, threads: int) -> Predict:
    """Gives every batch thread one core, and loads the model's signature."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    model = tf.saved_model.load(str(model_dir))
    signature = model.signatures[name]
    signature.model = model  # the signature lives only as long as its model
    return signature


def score_all(units: Iterable[Any], score: ScoreUnit, threads: int, output: Path) -> report.Report:
    """Scores `units` in `threads` threads and reports the time that took, files closed."""
    start = time.perf_counter()
    queue = deque(units)
    paths = [output / f"part-{number:05d}.parquet" for number in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        sums = list(pool.map(lambda path: drain(queue, score, path), paths))
    return report.Report(checksum=checksum.total(sums), steady_secs=time.perf_counter() - start)


def drain(queue: deque[Any], score: ScoreUnit, path: Path) -> checksum.Checksum:
    """Scores units until `queue` is empty and writes the scores to the file at `path`."""
    written = checksum.Checksum()
    with pq.ParquetWriter(path, SCHEMA) as writer:
        for unit in taken_from(queue):
            ids, scores = (np.concatenate(parts) for parts in zip(*score(unit), strict=True))
            writer.write_table(pa.table([ids, scores], schema=SCHEMA))
            written += checksum.of_arrays(ids, scores)
    return written


def taken_from(queue: deque[Any]) -> Iterator[Any]:
    """Yields what this thread gets of a queue that several threads empty."""
    with contextlib.suppress(IndexError):  # the queue is empty
        while True:
            yield queue.popleft()


def main() -> None:
    """Scores one workload and prints the report."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("workload", choices=sorted(SCORERS))
    parser.add_argument("--threads", type=int, default=machine.usable_cores())
    parser.add_argument("--batch_size", type=int, help="tuned for the workload when left out")
    parser.add_argument("--copies", type=int, default=1, help="read the data so many times over")
    args = parser.parse_args()
    workload = workloads.prepared(args.workload, args.copies)
    output = workloads.fresh_output_dir(f"loop-{workload.name}")

    kind = SCORERS[workload.name]
    predict = load_signature(workload.model_base_path / "1", kind.signature, args.threads)
    scorer = kind(predict, args.batch_size or BATCH_SIZES[workload.name])
    units = scorer.units(workload.files(args.copies))
    report.emit(score_all(units, scorer.score, args.threads, output))


if __name__ == "__main__":
    main()

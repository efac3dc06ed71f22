"""The tuned loop that one would write by hand: threads that read, predict and write, and no framework.

`python -m benchmarks.loop tabular --threads=4` prints one line of JSON. Every thread takes a unit (a
Parquet row group, or a TFRecord file) off a shared queue, runs the model's signature over it in
large batches and appends the result to a Parquet file of its own. TensorFlow works outside the
interpreter lock, so there are as many threads as cores, each with one intra-op thread unless the
model's operations are large.
"""

import argparse
import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import checksum, machine, report, scoring, workloads

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

ScoreUnit = Callable[[Any], Iterable[scoring.Scored]]


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """How a workload is scored, with the settings that were found best.

    Attributes:
        score: Scores a unit with a signature, in batches of a size.
        batch_size: Rows of a batch; padded cells for `score_longest_first`.
        units: Cuts files into units.
        signature: The one to call.
        spreads_calls: Whether a call of the model uses all cores rather than one.
    """

    score: Callable[[scoring.Predict, int, Any], Iterable[scoring.Scored]]
    batch_size: int
    units: Callable[[list[Path]], Iterable[Any]] = scoring.row_groups
    signature: str = "serving_default"
    spreads_calls: bool = False


TUNINGS = {
    "tabular": Tuning(score=scoring.score_columns, batch_size=65_536, signature="columns"),
    "demo": Tuning(score=scoring.score_demo, batch_size=65_536),
    "examples": Tuning(score=scoring.score_records, batch_size=8192, units=list),
    "images": Tuning(score=scoring.score_images, batch_size=64, spreads_calls=True),
    "ragged": Tuning(score=scoring.score_longest_first, batch_size=8192),
}
ARRIVAL_ORDER = Tuning(score=scoring.score_in_arrival_order, batch_size=64)


def load_signature(
    model_dir: Path, name: str, *, inter_op_threads: int, intra_op_threads: int
) -> scoring.Predict:
    """Sets TensorFlow's threads, and loads the model's signature."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(intra_op_threads)
    tf.config.threading.set_inter_op_parallelism_threads(inter_op_threads)
    model = tf.saved_model.load(str(model_dir))
    signature = model.signatures[name]
    signature.model = model  # the signature lives only as long as its model
    return cast(scoring.Predict, signature)


def score_all(
    units: Iterable[Any], score: ScoreUnit, threads: int, output: Path, schema: pa.Schema
) -> report.Report:
    """Scores `units` in `threads` threads and reports the time that took, files closed."""
    start = time.perf_counter()
    queue = deque(units)
    paths = [output / f"part-{number:05d}.parquet" for number in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        sums = list(pool.map(partial(drain, queue, score, schema), paths))
    return report.Report(checksum=checksum.total(sums), steady_secs=time.perf_counter() - start)


def drain(queue: deque[Any], score: ScoreUnit, schema: pa.Schema, path: Path) -> checksum.Checksum:
    """Scores units until `queue` is empty and writes the predictions to the file at `path`."""
    written = checksum.Checksum()
    with pq.ParquetWriter(path, schema) as writer:
        for unit in taken_from(queue):
            ids, scores = (np.concatenate(parts) for parts in zip(*score(unit), strict=True))
            writer.write_table(pa.table([ids, as_column(scores)], schema=schema))
            written += checksum.of_arrays(ids, scores)
    return written


def as_column(scores: np.ndarray) -> pa.Array:
    """Returns one value, or one fixed-size list, for each row."""
    if scores.ndim == 1:
        return pa.array(scores)
    return pa.FixedSizeListArray.from_arrays(scores.ravel(), scores.shape[1])


def taken_from(queue: deque[Any]) -> Iterator[Any]:
    """Yields what this thread gets of a queue that several threads empty."""
    with contextlib.suppress(IndexError):  # the queue is empty
        while True:
            yield queue.popleft()


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("workload", choices=sorted(TUNINGS))
    parser.add_argument("--threads", type=int, default=machine.usable_cores())
    parser.add_argument("--batch_size", type=int, help="tuned for the workload when left out")
    parser.add_argument("--copies", type=int, default=1, help="read the data so many times over")
    parser.add_argument(
        "--arrival_order", action="store_true", help="ragged: batches of rows as they come"
    )
    args = parser.parse_args()
    if args.arrival_order and args.workload != "ragged":
        parser.error(f"--arrival_order is a way to read ragged rows, not {args.workload}")
    return args


def main() -> None:
    """Scores one workload and prints the report."""
    args = arguments()
    workload = workloads.prepared(args.workload, args.copies)
    output = workloads.fresh_output_dir(f"loop-{workload.name}")
    tuning = ARRIVAL_ORDER if args.arrival_order else TUNINGS[workload.name]
    predict = load_signature(
        workload.model_base_path / "1",
        tuning.signature,
        inter_op_threads=args.threads,
        intra_op_threads=args.threads if tuning.spreads_calls else 1,
    )
    score = partial(tuning.score, predict, args.batch_size or tuning.batch_size)
    units = tuning.units(workload.files(args.copies))
    schema = pa.schema([("id", pa.int64()), workload.prediction])
    report.emit(score_all(units, score, args.threads, output, schema))


if __name__ == "__main__":
    main()

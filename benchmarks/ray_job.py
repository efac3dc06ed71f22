"""The pipeline of the rival Ray Data; `rival_ray` runs it in an environment of its own.

Reads files into Arrow blocks, hands batches to actors that hold the model, and writes Parquet. Prints
the seconds of its steady state: from when all actors have their model to when all is written. Until
then, which takes some 15 seconds, they read ahead.
"""

import argparse
import glob
import json
import os
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data
import tensorflow as tf

BATCH_CELLS = 8192
_HEADER = "<QI"  # the format, not a Struct: Ray pickles what functions use
_FOOTER_BYTES = 4

Predict = Callable[..., dict[str, Any]]


class Scorer:
    """An actor with a model: tables in, ids and predictions out."""

    def __init__(self, workload: str, model_dir: str, signature: str, started_dir: str) -> None:
        self._model = tf.saved_model.load(model_dir)
        self._predict = self._model.signatures[signature]
        self._score = SCORES[workload]
        Path(started_dir, str(os.getpid())).write_text(str(time.time()), encoding="utf-8")

    def __call__(self, batch: pa.Table) -> pa.Table:
        return self._score(self._predict, batch)


def score_columns(predict: Predict, batch: pa.Table) -> pa.Table:
    """Feeds one tensor for each column but the id."""
    names = [name for name in batch.column_names if name != "id"]
    outputs = predict(**{name: tf.constant(batch[name].to_numpy()) for name in names})
    return pa.table({"id": batch["id"], "score": outputs["score"].numpy()})


def score_demo(predict: Predict, batch: pa.Table) -> pa.Table:
    """Feeds the columns of the demo's first model, each as a matrix of one column."""
    names = predict.structured_input_signature[1]  # type: ignore[attr-defined]  # TensorFlow's
    outputs = predict(
        **{name: tf.constant(batch[name].to_numpy().reshape(-1, 1)) for name in names}
    )
    return pa.table({"id": batch["id"], "probability": outputs["probability"].numpy().ravel()})


def score_examples(predict: Predict, batch: pa.Table) -> pa.Table:
    """Feeds serialized Examples, which the model parses itself."""
    outputs = predict(examples=tf.constant(batch["record"].to_pylist()))
    return pa.table({name: outputs[name].numpy() for name in ("id", "score")})


def score_images(predict: Predict, batch: pa.Table) -> pa.Table:
    """Feeds fixed-size lists as one matrix."""
    values = batch["image"].combine_chunks()
    pixels = getattr(values, "storage", values).flatten().to_numpy().reshape(batch.num_rows, -1)
    logits = predict(image=tf.constant(pixels))["logits"].numpy()
    lists = pa.FixedSizeListArray.from_arrays(logits.ravel(), logits.shape[1])
    return pa.table({"id": batch["id"], "logits": lists})


def score_ragged(predict: Predict, batch: pa.Table) -> pa.Table:
    """Sorts the lists of a batch by length, and feeds as many as fit into a number of padded cells."""
    lists = batch["ids"].combine_chunks()
    order = np.argsort(lists.value_lengths().to_numpy(), kind="stable")[::-1]
    in_order = lists.take(pa.array(order))
    lengths = in_order.value_lengths().to_numpy()
    scores = np.empty(len(lists), np.float32)
    start = 0
    while start < len(lists):
        stop = min(len(lists), start + max(1, BATCH_CELLS // int(lengths[start])))
        is_value = np.arange(lengths[start]) < lengths[start:stop, np.newaxis]
        ids = np.zeros(is_value.shape, np.int32)
        ids[is_value] = in_order.slice(start, stop - start).flatten().to_numpy()
        mask = tf.constant(is_value.astype(np.float32))
        scores[order[start:stop]] = predict(ids=tf.constant(ids), mask=mask)["score"].numpy()
        start = stop
    return pa.table({"id": batch["id"], "score": scores})


SCORES: dict[str, Callable[[Predict, pa.Table], pa.Table]] = {
    "tabular": score_columns,
    "demo": score_demo,
    "examples": score_examples,
    "images": score_images,
    "ragged": score_ragged,
}


def read_records(paths: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields the records of TFRecord files; Ray's own reader makes a row of Python objects of each."""
    for path in paths["item"]:
        data = Path(str(path)).read_bytes()
        records, position = [], 0
        while position < len(data):
            length, _ = struct.unpack_from(_HEADER, data, position)
            position += struct.calcsize(_HEADER)
            records.append(data[position : position + length])
            position += length + _FOOTER_BYTES
        yield {"record": np.array(records, dtype=object)}


def dataset(workload: str, files: list[str]) -> Any:
    """Returns the rows, not read yet."""
    if workload != "examples":
        return ray.data.read_parquet(files)
    paths = ray.data.from_items(files, override_num_blocks=len(files))
    return paths.map_batches(read_records, batch_size=1)


def run(args: argparse.Namespace, started_dir: str) -> float:
    """Runs the pipeline and returns the seconds from when the last actor had started."""
    files = sorted(glob.glob(args.files))  # noqa: PTH207 - a whole path is the pattern
    ray.init(include_dashboard=False, log_to_driver=False, logging_level="error")
    scored = dataset(args.workload, files).map_batches(
        Scorer,
        fn_constructor_args=(args.workload, args.model_dir, args.signature, started_dir),
        batch_format="pyarrow",
        batch_size=args.batch_size,
        concurrency=args.actors,
    )
    scored.write_parquet(args.output)
    ended = time.time()
    return ended - max(float(each.read_text()) for each in Path(started_dir).iterdir())


def main() -> None:
    """Runs the pipeline once."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--workload", required=True, choices=sorted(SCORES))
    parser.add_argument("--model_dir", required=True)
    parser.add_argument("--signature", required=True)
    parser.add_argument("--files", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--batch_size", type=int, required=True)
    parser.add_argument("--actors", type=int, required=True)
    with tempfile.TemporaryDirectory() as started_dir:
        secs = run(parser.parse_args(), started_dir)
    ray.shutdown()
    print(json.dumps({"steady_secs": secs}))


if __name__ == "__main__":
    main()

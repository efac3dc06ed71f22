"""A rival: Apache Beam's own RunInference over the same rows, on the in-memory FnApiRunner.

`python -m benchmarks.rival_run_inference tabular` prints one line of JSON. It is configured as well as
its interface allows: batches of a fixed size, one call of the model for each, and predictions handed
on as numpy values; ragged rows in buckets of similar length. Two of its defaults are replaced: the
loader, because Keras 3 does not load a SavedModel directory, and the inference function, which
slices tensors row by row. TensorFlow is imported before the clock starts; the model is loaded after.
"""

import benchmarks.legacy_keras  # noqa: F401 - before Beam's handler is imported

# isort: split
import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute
import tensorflow as tf
from apache_beam.ml.inference.base import KeyedModelHandler, PredictionResult, RunInference
from apache_beam.ml.inference.tensorflow_inference import TFModelHandlerNumpy
from apache_beam.options.pipeline_options import PipelineOptions

from benchmarks import checksum, datasets, report, scoring, workloads
from pipelines.demo_data import FEATURES

Keyed = tuple[int, Any]
EXAMPLES_BATCH_SIZE = 2048
_LENGTHS = (16, 24, 32, 48, 64, 96, 128)


@dataclass(frozen=True, kw_only=True)
class Job:
    """How a workload becomes elements, and a batch of them predictions.

    Attributes:
        batch_size: Elements of a batch, unless another one is asked for.
        rows: Keyed elements of a table.
        predict: Predictions of a batch.
        max_wait_secs: How long a bucket of similar lengths waits to be full; None for no buckets.
    """

    batch_size: int
    predict: Callable[[Any, Sequence[Any]], np.ndarray]
    rows: Callable[[pa.Table], Iterator[Keyed]]
    max_wait_secs: float | None = None

    def batching(self, batch_size: int | None) -> dict[str, Any]:
        """Returns the handler's options."""
        size = batch_size or self.batch_size
        sizes = {"min_batch_size": size, "max_batch_size": size}
        if self.max_wait_secs is None:
            return sizes
        return {
            "min_batch_size": 1,
            "max_batch_size": size,
            "max_batch_duration_secs": self.max_wait_secs,
            "batch_length_fn": lambda keyed: len(keyed[1]),
            "batch_bucket_boundaries": list(_LENGTHS),
        }


def matrix_rows(names: Sequence[str], table: pa.Table) -> Iterator[Keyed]:
    """Yields the key and the features of each row."""
    features = np.stack([table[name].to_numpy() for name in names], axis=1)
    return zip(table["id"].to_pylist(), features, strict=True)


def list_rows(name: str, table: pa.Table) -> Iterator[Keyed]:
    """Yields the key and the list of each row, as an array."""
    lists = table[name].combine_chunks()
    values = lists.flatten().to_numpy()
    ends = np.cumsum(pa.compute.list_value_length(lists).to_numpy(zero_copy_only=False))
    return zip(table["id"].to_pylist(), np.split(values, ends[:-1]), strict=True)


def predict_matrix(model: Any, batch: Sequence[np.ndarray]) -> np.ndarray:
    """Predicts with one matrix."""
    return np.asarray(model(x=tf.constant(np.stack(batch)))["score"].numpy())


def predict_demo(model: Any, batch: Sequence[np.ndarray]) -> np.ndarray:
    """Predicts with a matrix of one column for each feature."""
    columns = np.stack(batch).T[..., np.newaxis]
    inputs = {name: tf.constant(values) for name, values in zip(FEATURES, columns, strict=True)}
    return np.asarray(model(**inputs)["probability"].numpy().ravel())


def predict_images(model: Any, batch: Sequence[np.ndarray]) -> np.ndarray:
    """Predicts with one matrix of pixels."""
    return np.asarray(model(image=tf.constant(np.stack(batch)))["logits"].numpy())


def predict_ragged(model: Any, batch: Sequence[np.ndarray]) -> np.ndarray:
    """Predicts with lists padded to the longest."""
    ids, mask = scoring.padded(pa.array(batch, pa.list_(pa.int32())))
    return np.asarray(model(ids=tf.constant(ids), mask=tf.constant(mask))["score"].numpy())


JOBS = {
    "tabular": Job(
        batch_size=4096,
        rows=partial(matrix_rows, datasets.FEATURES),
        predict=predict_matrix,
    ),
    "demo": Job(batch_size=4096, rows=partial(matrix_rows, FEATURES), predict=predict_demo),
    "images": Job(batch_size=64, rows=partial(list_rows, "image"), predict=predict_images),
    "ragged": Job(
        batch_size=64, rows=partial(list_rows, "ids"), predict=predict_ragged, max_wait_secs=2.0
    ),
}


class SavedModelHandler(TFModelHandlerNumpy):
    """Beam's handler with TensorFlow's own loader."""

    def load_model(self) -> Any:
        """Loads the SavedModel's default signature."""
        model = tf.saved_model.load(self._model_uri)
        signature = model.signatures["serving_default"]
        signature.model = model  # the signature lives only as long as its model
        return signature


def predict_batch(
    predict: Callable[[Any, Sequence[Any]], np.ndarray],
    model: Any,
    batch: Sequence[Any],
    _args: Any = None,
    model_id: str | None = None,
) -> list[PredictionResult]:
    """Predicts a whole batch in one call; the inputs are not repeated in the results."""
    return [PredictionResult(None, each, model_id) for each in predict(model, batch)]


def predict_examples(
    model: Any, batch: Sequence[bytes], _args: Any = None, model_id: str | None = None
) -> list[PredictionResult]:
    """Predicts serialized Examples, of which the model returns the keys, too."""
    outputs = model(examples=tf.constant(batch))
    pairs = zip(outputs["id"].numpy(), outputs["score"].numpy(), strict=True)
    return [PredictionResult(None, pair, model_id) for pair in pairs]


def to_record(field: pa.Field, keyed: tuple[int, PredictionResult]) -> dict[str, Any]:
    """Turns a keyed prediction into a row of the output."""
    key, prediction = keyed
    return {"id": key, field.name: prediction.inference.tolist()}


def example_record(prediction: PredictionResult) -> dict[str, Any]:
    """Turns the prediction of an Example into a row of the output."""
    key, score = prediction.inference
    return {"id": int(key), "score": float(score)}


def example_records(
    pipeline: beam.Pipeline, files: str, model_dir: str, batch_size: int | None
) -> beam.PCollection[dict[str, Any]]:
    """Returns the predictions of serialized Examples."""
    size = batch_size or EXAMPLES_BATCH_SIZE
    handler = SavedModelHandler(
        model_dir, inference_fn=predict_examples, min_batch_size=size, max_batch_size=size
    )
    return (
        pipeline
        | beam.io.ReadFromTFRecord(files)
        | RunInference(handler)
        | "Records" >> beam.Map(example_record)
    )


def keyed_records(
    pipeline: beam.Pipeline,
    files: str,
    model_dir: str,
    batch_size: int | None,
    *,
    job: Job,
    field: pa.Field,
) -> beam.PCollection[dict[str, Any]]:
    """Returns the predictions of the rows of Parquet files."""
    handler = SavedModelHandler(
        model_dir, inference_fn=partial(predict_batch, job.predict), **job.batching(batch_size)
    )
    return (
        pipeline
        | beam.io.ReadFromParquetBatched(files)
        | "Rows" >> beam.FlatMap(job.rows)
        | RunInference(KeyedModelHandler(handler))
        | "Records" >> beam.Map(partial(to_record, field))
    )


def run(workload: workloads.Workload, copies: int, batch_size: int | None, output: Path) -> float:
    """Runs the pipeline and returns its seconds."""
    job = JOBS.get(workload.name)
    records = partial(keyed_records, job=job, field=workload.prediction) if job else example_records
    schema = pa.schema([("id", pa.int64()), _written(workload.prediction)])
    files = f"{workload.files_dir(copies)}/*{workload.suffix}"
    start = time.perf_counter()
    with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline:
        _ = records(
            pipeline, files, str(workload.model_base_path / "1"), batch_size
        ) | beam.io.WriteToParquet(str(output / "part"), schema, file_name_suffix=".parquet")
    return time.perf_counter() - start


def _written(field: pa.Field) -> pa.Field:
    """Returns the field as Beam's writer takes it, which knows no lists of fixed size."""
    is_list = pa.types.is_fixed_size_list(field.type)
    return pa.field(field.name, pa.list_(pa.float32())) if is_list else field


def main() -> None:
    """Scores one workload and prints the report."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("workload", choices=[*JOBS, "examples"])
    parser.add_argument("--copies", type=int, default=1, help="read the data so many times over")
    parser.add_argument("--batch_size", type=int, help="rows of a batch")
    args = parser.parse_args()
    workload = workloads.prepared(args.workload, args.copies)
    output = workloads.fresh_output_dir(f"run-inference-{workload.name}")
    secs = run(workload, args.copies, args.batch_size, output)
    sums = checksum.of_parquet(output, workload.prediction.name)
    report.emit(report.Report(checksum=sums, steady_secs=secs))


if __name__ == "__main__":
    main()

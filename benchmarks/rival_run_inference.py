"""A rival: Apache Beam's own RunInference over the same Parquet rows, on the in-memory FnApiRunner.

`python -m benchmarks.rival_run_inference tabular-small` prints one line of JSON. It is configured as
well as its interface allows: batches of a fixed, large size, one call of the model for each, and
predictions handed on as numpy values. Two of its defaults are replaced: the loader, because Keras 3
does not load a SavedModel directory, and the inference function, which slices tensors row by row.
TensorFlow is imported before the clock starts; the model is loaded after.
"""

import benchmarks.legacy_keras  # noqa: F401 - before Beam's handler is imported

# isort: split
import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import tensorflow as tf
from apache_beam.ml.inference.base import KeyedModelHandler, PredictionResult, RunInference
from apache_beam.ml.inference.tensorflow_inference import TFModelHandlerNumpy
from apache_beam.options.pipeline_options import PipelineOptions

from benchmarks import checksum, report, workloads

SCHEMA = pa.schema([("id", pa.int64()), ("score", pa.float32())])


class SavedModelHandler(TFModelHandlerNumpy):
    """Beam's handler with TensorFlow's own loader."""

    def load_model(self) -> Any:
        """Loads the SavedModel's default signature."""
        model = tf.saved_model.load(self._model_uri)
        signature = model.signatures["serving_default"]
        signature.model = model  # the signature lives only as long as its model
        return signature


def predict_batch(
    model: Any, batch: Sequence[np.ndarray], _args: Any = None, model_id: str | None = None
) -> list[PredictionResult]:
    """Predicts a whole batch in one call; the inputs are not repeated in the results."""
    scores = model(x=tf.constant(np.stack(batch)))["score"].numpy()
    return [PredictionResult(None, score, model_id) for score in scores]


def rows_of(table: pa.Table) -> Iterator[tuple[int, np.ndarray]]:
    """Yields the key and the features of each row."""
    features = np.stack([table[name].to_numpy() for name in workloads.FEATURES], axis=1)
    return zip(table["id"].to_pylist(), features, strict=True)


def to_record(keyed: tuple[int, PredictionResult]) -> dict[str, Any]:
    """Turns a keyed prediction into a row of the output."""
    key, prediction = keyed
    return {"id": key, "score": float(prediction.inference)}


def run(workload: workloads.Workload, batch_size: int, output: Path) -> float:
    """Runs the pipeline and returns its seconds."""
    handler = SavedModelHandler(
        str(workload.model_base_path / "1"),
        inference_fn=predict_batch,
        min_batch_size=batch_size,
        max_batch_size=batch_size,
    )
    start = time.perf_counter()
    with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline:
        _ = (
            pipeline
            | beam.io.ReadFromParquetBatched(f"{workload.files_dir()}/*{workload.suffix}")
            | "Rows" >> beam.FlatMap(rows_of)
            | RunInference(KeyedModelHandler(handler))
            | "Records" >> beam.Map(to_record)
            | beam.io.WriteToParquet(str(output / "part"), SCHEMA, file_name_suffix=".parquet")
        )
    return time.perf_counter() - start


def main() -> None:
    """Scores one workload and prints the report."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("workload", choices=["tabular", "tabular-small"])
    parser.add_argument("--batch_size", type=int, default=1024)
    args = parser.parse_args()
    workload = workloads.prepared(args.workload)
    output = workloads.fresh_output_dir(f"run-inference-{workload.name}")
    secs = run(workload, args.batch_size, output)
    report.emit(report.Report(checksum=checksum.of_parquet(output), steady_secs=secs))


if __name__ == "__main__":
    main()

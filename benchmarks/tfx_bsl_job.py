"""The pipeline of the rival tfx-bsl; `rival_tfx_bsl` runs it in an environment of its own.

Reads TFRecords of Examples, writes TFRecords of PredictionLog, and prints the pipeline's seconds.
TensorFlow is imported before the clock starts; the model is loaded after.
"""

import argparse
import json
import time

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog
from tfx_bsl.public.beam import RunInference
from tfx_bsl.public.proto import model_spec_pb2


def run(model_dir: str, files: str, output: str) -> float:
    """Runs the pipeline and returns its seconds."""
    saved_model = model_spec_pb2.SavedModelSpec(
        model_path=model_dir, signature_name=["serving_default"]
    )
    spec = model_spec_pb2.InferenceSpecType(saved_model_spec=saved_model)
    start = time.perf_counter()
    with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline:
        _ = (
            pipeline
            | beam.io.ReadFromTFRecord(files)
            | RunInference(spec)
            | beam.io.WriteToTFRecord(output, coder=beam.coders.ProtoCoder(PredictionLog))
        )
    return time.perf_counter() - start


def main() -> None:
    """Runs the pipeline once."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--model_dir", required=True)
    parser.add_argument("--files", required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    print(json.dumps({"pipeline_secs": run(args.model_dir, args.files, args.output)}))


if __name__ == "__main__":
    main()

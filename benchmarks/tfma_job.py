"""The evaluation of the rival TFMA; `rival_tfma` runs it in an environment of its own.

Reads the rows with the predictions of both versions, evaluates them, and prints one line of JSON:
the seconds from the first row's reading to the last file's writing, and what was found. Libraries are
imported before the clock starts. Confidence intervals are off: with them it takes longer by far, and
some metrics are wrong.
"""

import argparse
import json
import time
from typing import Any

import pandas as pd
import tensorflow_model_analysis as tfma
from google.protobuf import text_format
from tensorflow_model_analysis.proto import config_pb2

METRICS = (
    *("ExampleCount", "AUC", "BinaryAccuracy", "BinaryCrossEntropy", "Calibration"),
    *("TruePositives", "FalsePositives", "TrueNegatives", "FalseNegatives"),
)


def eval_config(label: str, versions: list[str], slices: list[str]) -> config_pb2.EvalConfig:
    """Returns what is measured; the first version is the baseline."""
    lines = [
        *(
            f'model_specs {{ name: "{each}" label_key: "{label}" prediction_key: "{each}"'
            f" is_baseline: {str(each == versions[0]).lower()} }}"
            for each in versions
        ),
        "slicing_specs {}",
        *(f"slicing_specs {{ {_feature_keys(each)} }}" for each in slices),
        "metrics_specs {",
        *(f'metrics {{ class_name: "{each}" }}' for each in METRICS),
        "} options {",
        "compute_confidence_intervals { value: false } include_default_metrics { value: false } }",
    ]
    return text_format.Parse("\n".join(lines), config_pb2.EvalConfig())


def _feature_keys(columns: str) -> str:
    return " ".join(f'feature_keys: "{each}"' for each in columns.split(","))


def found(output: str, version: str) -> dict[str, dict[str, float]]:
    """Returns the metrics of a version by slice and name."""
    result = tfma.load_eval_result(output, model_name=version)
    return {
        ",".join(f"{column}={value}" for column, value in key): {
            name: value["doubleValue"]
            for name, value in metrics[""][""].items()
            if "doubleValue" in value
        }
        for key, metrics in result.slicing_metrics
    }


def main() -> None:
    """Evaluates once."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--rows", required=True)
    parser.add_argument("--label", required=True)
    parser.add_argument("--version", action="append", required=True)
    parser.add_argument("--slice", action="append", required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    config = eval_config(args.label, args.version, args.slice)
    start = time.perf_counter()
    tfma.analyze_raw_data(pd.read_parquet(args.rows), config, output_path=args.output)
    secs = time.perf_counter() - start
    results: dict[str, Any] = {each: found(args.output, each) for each in args.version}
    print(json.dumps({"pipeline_secs": secs, "found": results}))


if __name__ == "__main__":
    main()

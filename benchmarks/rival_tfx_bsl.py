"""A rival: tfx-bsl's RunInference over TFRecords of Examples, in its default configuration.

`python -m benchmarks.rival_tfx_bsl examples` prints one line of JSON. tfx-bsl pins other versions
than this project, so it lives in an environment of its own, which the first run creates from
`requirements-tfx-bsl.txt`. Where that cannot be installed, the line says so and the rival is left out.
"""

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks import checksum, machine, report, workloads
from benchmarks.environment import environment_python

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

HERE = Path(__file__).resolve().parent


def measure(workload: workloads.Workload, copies: int) -> report.Report:
    """Runs the pipeline once and checks what it wrote."""
    python = environment_python("tfx-bsl")
    logs = workloads.fresh_output_dir(f"tfx-bsl-{workload.name}") / "log"
    run = machine.run_or_exit(
        [
            *(str(python), "-P", str(HERE / "tfx_bsl_job.py")),
            f"--model_dir={workload.model_base_path / '1'}",
            f"--files={workload.files_dir(copies)}/*{workload.suffix}",
            f"--output={logs}",
        ]
    )
    return report.Report(
        checksum=checksum.total(checksums_of(logs)),
        steady_secs=json.loads(run.stdout.splitlines()[-1])["pipeline_secs"],
        wall_secs=run.wall_secs,
        max_rss_mb=run.max_rss_mb,
    )


def checksums_of(logs: Path) -> Iterator[checksum.Checksum]:
    """Yields the checksum of each prediction log in the files whose paths begin with `logs`."""
    import tensorflow as tf
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    files = [str(path) for path in logs.parent.glob(f"{logs.name}*")]
    for records in tf.data.TFRecordDataset(files).batch(1024).as_numpy_iterator():
        for record in records:
            outputs = PredictionLog.FromString(record).predict_log.response.outputs
            ids, scores = tf.make_ndarray(outputs["id"]), tf.make_ndarray(outputs["score"])
            yield checksum.of_arrays(ids, np.asarray(scores))


def main() -> None:
    """Measures one run over one workload and prints the report."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("workload", choices=["examples"])
    parser.add_argument("--copies", type=int, default=1, help="read the data so many times over")
    args = parser.parse_args()
    workload = workloads.prepared(args.workload, args.copies)
    report.emit(measure(workload, args.copies))


if __name__ == "__main__":
    main()

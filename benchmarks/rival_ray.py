"""A rival: Ray Data, with actors that hold the model and Arrow batches of one size.

`python -m benchmarks.rival_ray tabular` prints one line of JSON. Ray lives in an environment of its
own, which the first run creates from `requirements-ray.txt`. Where that cannot be installed, the line
says so and the rival is left out. The peak is that of its largest process; several have a model.
"""

import argparse
import json
from pathlib import Path

from benchmarks import checksum, loop, machine, report, workloads
from benchmarks.environment import environment_python

HERE = Path(__file__).resolve().parent
# More leave no core for those who read: with four actors on four cores nothing moves.
ACTORS = 2
BATCH_SIZES = {"tabular": 65_536, "demo": 4096, "examples": 4096, "images": 64, "ragged": 4096}


def measure(workload: workloads.Workload, copies: int, batch_size: int) -> report.Report:
    """Runs the pipeline once and checks what it wrote."""
    python = environment_python("ray")
    output = workloads.fresh_output_dir(f"ray-{workload.name}")
    run = machine.run_or_exit(
        [
            *(str(python), "-P", str(HERE / "ray_job.py")),
            f"--workload={workload.name}",
            f"--model_dir={workload.model_base_path / '1'}",
            f"--signature={loop.TUNINGS[workload.name].signature}",
            f"--files={workload.files_dir(copies)}/*{workload.suffix}",
            f"--output={output}",
            f"--batch_size={batch_size}",
            f"--actors={ACTORS}",
        ]
    )
    # Ray's processes may print, too, and after it.
    (printed,) = (line for line in run.stdout.splitlines() if line.startswith('{"steady_secs"'))
    return report.Report(
        checksum=checksum.of_parquet(output, workload.prediction.name),
        steady_secs=json.loads(printed)["steady_secs"],
        wall_secs=run.wall_secs,
        max_rss_mb=run.max_rss_mb,
    )


def main() -> None:
    """Measures one run over one workload and prints the report."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("workload", choices=sorted(BATCH_SIZES))
    parser.add_argument("--copies", type=int, default=1, help="read the data so many times over")
    parser.add_argument("--batch_size", type=int, help="rows of a batch")
    args = parser.parse_args()
    workload = workloads.prepared(args.workload, args.copies)
    batch_size = args.batch_size or BATCH_SIZES[workload.name]
    report.emit(measure(workload, args.copies, batch_size))


if __name__ == "__main__":
    main()

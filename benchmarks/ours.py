"""This project's `precompute`, run as its users run it: one command, measured from outside.

`python -m benchmarks.ours tabular` prints one line of JSON. Seconds and memory of the whole process
come from the operating system; the steady seconds (first unit's start to last unit's end) come from
the manifest that the job writes.
"""

import argparse
import json
import sys
from pathlib import Path

from benchmarks import checksum, machine, report, workloads


def command(workload: workloads.Workload, copies: int, output: Path, *flags: str) -> list[str]:
    """Returns the command line of the job, with `flags` besides those that it needs."""
    return [
        *(sys.executable, "run_pipeline.py", "precompute"),
        f"--model_base_path={workload.model_base_path}",
        f"--input={workload.files_dir(copies)}/*{workload.suffix}",
        f"--output={output}",
        "--if_exists=overwrite",
        *workload.precompute_flags,
        *flags,
    ]


def measure(workload: workloads.Workload, copies: int) -> report.Report:
    """Runs the job once and checks what it wrote."""
    output = workloads.fresh_output_dir(f"ours-{workload.name}")
    run = machine.run_or_exit(command(workload, copies, output))
    manifest = json.loads((output / "_manifest.json").read_text())
    return report.Report(
        checksum=checksum.of_parquet(output, workload.prediction.name),
        steady_secs=manifest["timings"]["steady_secs"],
        wall_secs=run.wall_secs,
        max_rss_mb=run.max_rss_mb,
    )


def main() -> None:
    """Measures one run over one workload and prints the report."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("workload", choices=sorted(workloads.WORKLOADS))
    parser.add_argument("--copies", type=int, default=1, help="read the data so many times over")
    args = parser.parse_args()
    workload = workloads.prepared(args.workload, args.copies)
    report.emit(measure(workload, args.copies))


if __name__ == "__main__":
    main()

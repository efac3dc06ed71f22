"""What a second version costs in one pass: reading is shared, computing is not.

    python -m benchmarks.two_versions
    python -m benchmarks.two_versions --workloads ragged --copies 1

Jobs over version 1 alone, version 2 alone (a copy of it) and both take turns with a loop that only
reads. What both versions should take is the two jobs alone, less one reading; the table gives the
ratio to that.
"""

import argparse
import json
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from statistics import median

import pyarrow.parquet as pq

from benchmarks import machine, ours, scoring, workloads

VERSIONS = ("1", "2", "1,2")


def with_two_versions(workload: workloads.Workload) -> workloads.Workload:
    """Returns the workload with a model that has two versions, which are the same."""
    twice = replace(workload, model_name=f"{workload.model_name}-twice")
    for version in ("1", "2"):
        target = twice.model_base_path / version
        if not target.exists():
            shutil.copytree(workload.model_base_path / "1", target)
    return twice


def measure(workload: workloads.Workload, copies: int, versions: str) -> float:
    """Runs one job and returns its steady seconds."""
    output = workloads.fresh_output_dir(f"two-versions-{workload.name}")
    machine.run_or_exit(ours.command(workload, copies, output, f"--model_version={versions}"))
    manifest = json.loads((output / "_manifest.json").read_text())
    return float(manifest["timings"]["steady_secs"])


def read_only(workload: workloads.Workload, copies: int) -> float:
    """Reads what a job reads of Parquet files, on all cores, and returns the seconds."""
    units = list(scoring.row_groups(workload.files(copies)))
    start = time.perf_counter()
    with ThreadPoolExecutor(machine.usable_cores()) as pool:
        list(pool.map(_read, units))
    return time.perf_counter() - start


def _read(row_group: scoring.RowGroup) -> int:
    path, footer, group = row_group
    file = pq.ParquetFile(path, metadata=footer, memory_map=True)
    return int(file.read_row_group(group, use_threads=False).num_rows)


def rows(name: str, copies: int | None, rounds: int) -> Iterator[str]:
    """Yields the line of the table of one workload."""
    number = copies or workloads.WORKLOADS[name].copies
    workload = with_two_versions(workloads.prepared(name, number))
    samples = []
    for _ in range(rounds):
        first, second, both = (measure(workload, number, each) for each in VERSIONS)
        reading = read_only(workload, number)
        samples.append((first, second, both, reading, both / (first + second - reading)))
    first, second, both, reading, ratio = (median(each) for each in zip(*samples, strict=True))
    figures = " | ".join(f"{each:.1f}" for each in (first, second, reading, both))
    yield f"| {name} | {workload.rows * number:,} | {figures} | {ratio:.2f} |"


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument(
        "--workloads",
        nargs="+",
        choices=("tabular", "ragged", "images"),
        default=["tabular", "ragged"],
    )
    parser.add_argument("--copies", type=int, help="how often the data is read")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    print("| workload | rows | version 1, s | version 2, s | reading, s | both, s | ratio |")
    print("|---|---|---|---|---|---|---|")
    for name in args.workloads:
        print(*rows(name, args.copies, args.rounds), sep="\n", flush=True)


if __name__ == "__main__":
    main()

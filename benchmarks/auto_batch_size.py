"""How well `--max_batch_size=auto` chooses: its rate once it has settled, beside those of fixed sizes.

    python -m benchmarks.auto_batch_size
    python -m benchmarks.auto_batch_size --workloads ragged --batch_sizes 64 256 1024 auto

The sizes take turns, each run a job of its own. What counts is the last 80 % of a run: the start is
when a size is searched. The last size of the list is compared with each of the others, round by
round, and the tables give the medians.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from benchmarks import checksum, machine, ours, workloads

BATCH_SIZES = {
    "tabular": ("4096", "16384", "65536", "auto"),
    "examples": ("512", "2048", "8192", "auto"),
    "ragged": ("32", "128", "512", "auto"),
    "images": ("16", "64", "256", "auto"),
}
FIRST_PART = 0.2  # of the rows; left out
MIN_UNITS = 64  # so that the border of that part is found exactly enough
MAX_UNIT_ROWS = 1_000_000

Rates = dict[str, float]  # by batch size, as on the command line


def late_rate(units: Sequence[tuple[float, int]]) -> float:
    """Returns the rows per second after the first part of a run.

    Args:
        units: When each unit ended, in seconds, and its rows.
    """
    units = sorted(units)
    first_rows = FIRST_PART * sum(rows for _, rows in units)
    start, rows_before = units[0]
    for end, rows in units[1:]:
        if rows_before >= first_rows:
            break
        start, rows_before = end, rows_before + rows
    rows_after = sum(rows for _, rows in units) - rows_before
    return rows_after / (units[-1][0] - start)


def read_units(output: Path) -> list[tuple[float, int]]:
    """Reads when each unit of a job ended, and its rows."""
    receipts = [json.loads(path.read_text()) for path in (output / "_units").glob("unit-*.json")]
    return [(receipt["ended_secs"], receipt["rows_read"]) for receipt in receipts]


def measure(workload: workloads.Workload, copies: int, batch_size: str) -> float:
    """Runs one job and returns its late rate."""
    output = workloads.fresh_output_dir(f"auto-batch-size-{workload.name}")
    rows = workload.rows * copies
    unit_rows = min(MAX_UNIT_ROWS, rows // MIN_UNITS)
    flags = (f"--max_batch_size={batch_size}", f"--unit_rows={unit_rows}")
    machine.run_or_exit(ours.command(workload, copies, output, *flags))
    written = checksum.of_parquet(output, workload.prediction.name)
    if written.rows != rows:
        raise RuntimeError(
            f"a job with batches of {batch_size} wrote {written.rows} rows of {rows}"
        )
    return late_rate(read_units(output))


def take_turns(
    workload: workloads.Workload, copies: int, batch_sizes: Sequence[str], rounds: int
) -> list[Rates]:
    """Runs every size once a round."""
    samples: list[Rates] = []
    for number in range(rounds):
        samples.append({size: measure(workload, copies, size) for size in batch_sizes})
        figures = ", ".join(f"{size}: {rate:,.0f}" for size, rate in samples[-1].items())
        print(f"{workload.name}, round {number + 1}: {figures}", flush=True)
    return samples


def table(name: str, samples: Sequence[Rates]) -> Iterator[str]:
    """Yields the lines of the table of one workload."""
    sizes = list(samples[0])
    yield f"| workload | batch size | late rows/s, median (min - max) | {sizes[-1]} over it |"
    yield "|---|---|---|---|"
    for size in sizes:
        rates = [rates[size] for rates in samples]
        ratio = median(rates[sizes[-1]] / rates[size] for rates in samples)
        spread = f"{min(rates):,.0f} - {max(rates):,.0f}"
        yield f"| {name} | {size} | {median(rates):,.0f} ({spread}) | {ratio:.3g} |"


def arguments() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument(
        "--workloads", nargs="+", choices=sorted(BATCH_SIZES), default=list(BATCH_SIZES)
    )
    parser.add_argument(
        "--batch_sizes", nargs="+", help="rows, or auto; a few for each workload when left out"
    )
    parser.add_argument("--rounds", type=int, default=5, help="runs of each size")
    parser.add_argument("--copies", type=int, help="how often the data is read")
    args = parser.parse_args()
    if args.batch_sizes and len(set(args.batch_sizes)) < 2:
        parser.error(f"--batch_sizes needs two different sizes, got {' '.join(args.batch_sizes)}")
    return args


def main() -> None:
    """Measures and prints."""
    args = arguments()
    for fact in machine.facts():
        print(f"- {fact}")
    for name in args.workloads:
        copies = args.copies or workloads.WORKLOADS[name].copies
        workload = workloads.prepared(name, copies)
        sizes = args.batch_sizes or BATCH_SIZES[name]
        print("", *table(name, take_turns(workload, copies, sizes, args.rounds)), sep="\n")


if __name__ == "__main__":
    main()

"""Runs the systems side by side and writes the figures down: `python -m benchmarks.run`, or `make bench`.

The systems take turns, so that whatever else the machine does falls on all of them. Each run is a
fresh process. A ratio compares a system with the loop's run of the same round, and the table gives
the medians. Every run has to predict what the loop predicted in its warm-up, or this stops.
"""

import argparse
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import cast

from benchmarks import machine
from benchmarks.checksum import Checksum
from benchmarks.report import Report, parse
from benchmarks.systems import SYSTEMS, System
from benchmarks.workloads import output_dir, prepared

RESULTS = Path(__file__).resolve().parent / "README.md"
INTRODUCTION = """\
# Benchmarks

`make bench` makes the data and the models (about 1 GB below `bench_data/`), and environments of their
own for tfx-bsl and Ray Data; then it runs every system and writes this page. Parts of it:
`python -m benchmarks.run --only=loop-tabular,ours-tabular --runs=3 --results=/tmp/results.md`.

| program | what it measures |
|---|---|
| `benchmarks.run` | throughput against the hand-written loop and the rivals: the table below |
| `benchmarks.servable_handle` | looking up servables, also while others load: [servable_handle.md](servable_handle.md) |
| `benchmarks.batch_scheduler` | what batching costs |
| `benchmarks.auto_batch_size` | automatic batch sizes against fixed ones |
| `benchmarks.two_versions` | what a second version costs in one pass |
| `benchmarks.tfrecord_reading` | reading TFRecords: [tfrecord_reading.md](tfrecord_reading.md) |
| `benchmarks.metric_core` | metrics: rows per second, and memory of many slices |
| `benchmarks.evaluation` | evaluating two versions against precomputing them |
| `benchmarks.rival_tfma` | evaluating the same rows with TFMA |
| `benchmarks.many_slices` | memory of evaluating 10,000 slices |
| `benchmarks.many_units` | a job of a million units |

What the figures mean is told in [docs/benchmarks.md](../docs/benchmarks.md).

## Throughput

The systems took turns; figures are medians, and a ratio compares the steady rates of one round.
"""
HEADINGS = (
    "workload",
    "system",
    "rows",
    "runs",
    "steady rows/s, median (min - max)",
    "ratio to the loop",
    "whole process, rows/s",
    "whole process, s",
    "peak memory, MB",
)
NOTES = """\
- Steady: for the loops, from the first unit to the last file closed, without imports and model
  load; for `precompute`, from the first unit's start to the last unit's end, as its manifest says;
  for RunInference, the whole pipeline, with TensorFlow imported before the clock starts; for Ray
  Data, whose processes take 15 seconds to start, from when all have their model.
- Whole process: from start to exit, imports included, as the operating system sees it.
- `tabular`: 32 float32 columns in 8 Parquet files and a network of 32-64-32-1 units; `examples`:
  such rows as `tf.train.Example`s in TFRecord files, which the model parses itself.
- `demo`: the 20,190 rows of the demo, for which all but the whole process says little.
- `ragged`: lists of 4 to 256 token ids in Parquet, lengths log-normal (mean 3.6, sigma 0.8), and a
  transformer that takes them padded, with a mask. The loop sorts each row group by length and
  fills batches of 8,192 padded cells; the one in arrival order pads 64 rows to their longest.
- `images`: 3,072 floats a row in Parquet, and a convolutional network of 456 million operations
  per image.
- All read the 8 files many times over, under as many names, so that the steady state lasts half a
  minute, the rivals fewer times than the others; the files are in the page cache.
- Every run predicted what the loop predicted: rows, sum of ids, mean prediction.
"""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One run of one system."""

    rows: int
    steady_rate: float
    wall_secs: float
    max_rss_mb: float


class MismatchError(Exception):
    """A system predicted something else than the loop did."""


Samples = dict[str, dict[int, Sample]]  # by system, by round


def expected_checksums(systems: Sequence[System], copies: int | None) -> dict[str, Checksum]:
    """Makes the workloads and has the loop score each once: a warm-up, and the truth for the rest.

    Returns:
        What each system has to predict, by its name.
    """
    once: dict[str, Checksum] = {}
    for system in systems:
        print(f"preparing {system.workload}", flush=True)
        prepared(system.workload, system.copies(copies))
        if system.workload not in once:
            report, _ = run_module("loop", system.workload)
            once[system.workload] = cast(Report, report).checksum
    return {each.name: once[each.workload].times(each.copies(copies)) for each in systems}


def run_module(module: str, *flags: str) -> tuple[Report | str, machine.ProcessRun]:
    """Runs one of the benchmark's programs; returns its report and the figures from outside."""
    run = machine.run_or_exit([sys.executable, "-m", f"benchmarks.{module}", *flags])
    shutil.rmtree(output_dir(), ignore_errors=True)
    return parse(run.stdout), run


def measure(system: System, copies: int | None, expected: Checksum) -> Sample | str:
    """Runs `system` once; returns the reason instead where it cannot run on this machine."""
    report, run = run_module(system.module, *system.flags(copies))
    if isinstance(report, str):
        return report
    if not report.checksum.agrees_with(expected):
        raise MismatchError(f"{system.name} has {report.checksum}, the loop {expected}")
    return Sample(
        rows=report.checksum.rows,
        steady_rate=report.rows_per_sec,
        wall_secs=report.wall_secs or run.wall_secs,
        max_rss_mb=report.max_rss_mb or run.max_rss_mb,
    )


def with_best_batch_size(system: System, copies: int | None, expected: Checksum) -> System:
    """Returns the system with the batch size of those to choose from that was quickest, in one run each."""
    rates: dict[int, float] = {}
    for size in system.batch_sizes:
        sample = measure(system.with_batch_size(size), copies, expected)
        if isinstance(sample, str):
            return system
        rates[size] = sample.steady_rate
        print(f"{system.name}, batches of {size}: {sample}", flush=True)
    return system.with_batch_size(max(rates, key=rates.__getitem__)) if rates else system


def take_turns(
    systems: Sequence[System], runs: int, copies: int | None, truth: Mapping[str, Checksum]
) -> tuple[Samples, list[str]]:
    """Runs the systems round by round; returns the samples, and why some systems have none."""
    samples: Samples = {system.name: {} for system in systems}
    left_out: dict[str, str] = {}
    for number in range(runs):
        for system in systems:
            if number >= system.runs(runs) or system.name in left_out:
                continue
            sample = measure(system, copies, truth[system.name])
            if isinstance(sample, str):
                left_out[system.name] = sample
            else:
                samples[system.name][number] = sample
            print(f"round {number + 1}: {system.name}: {sample}", flush=True)
    return samples, list(left_out.values())


def table(systems: Sequence[System], samples: Samples) -> list[str]:
    """Returns the lines of the table of medians."""
    rows = [row(system, samples) for system in systems if samples[system.name]]
    return [f"| {' | '.join(HEADINGS)} |", "|" + "---|" * len(HEADINGS), *rows]


def row(system: System, samples: Samples) -> str:
    """Returns the table's row for one system."""
    own = list(samples[system.name].values())
    rates = [sample.steady_rate for sample in own]
    cells = [
        system.workload,
        system.title,
        f"{own[0].rows:,}",
        f"{len(own)}",
        f"{median(rates):,.0f} ({min(rates):,.0f} - {max(rates):,.0f})",
        ratio(samples[system.name], samples.get(system.baseline, {})),
        f"{median(sample.rows / sample.wall_secs for sample in own):,.0f}",
        f"{median(sample.wall_secs for sample in own):.1f}",
        f"{median(sample.max_rss_mb for sample in own):,.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def ratio(own: dict[int, Sample], loop: dict[int, Sample]) -> str:
    """Returns the median of the rates' ratios in the rounds that have both."""
    rounds = own.keys() & loop.keys()
    if not rounds:
        return "-"
    return f"{median(own[r].steady_rate / loop[r].steady_rate for r in rounds):.3g}"


def document(systems: Sequence[System], samples: Samples, left_out: Sequence[str]) -> str:
    """Returns the results as Markdown."""
    facts = [*machine.facts(), *(f"Left out: {reason}" for reason in left_out)]
    bullets = "".join(f"- {fact}\n" for fact in facts)
    figures = "\n".join(table(systems, samples))
    return f"{INTRODUCTION}\n{figures}\n\n{bullets}{NOTES}"


def main() -> None:
    """Runs the chosen systems and writes the results."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--only", help="systems, with commas: " + ",".join(s.name for s in SYSTEMS))
    parser.add_argument("--runs", type=int, default=5, help="rounds; slow rivals make at most 3")
    parser.add_argument(
        "--copies",
        type=int,
        help="how often the loops and ours read the data; enough for half a minute when left out",
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file to write")
    args = parser.parse_args()
    names = args.only.split(",") if args.only else [system.name for system in SYSTEMS]
    if unknown := set(names) - {system.name for system in SYSTEMS}:
        parser.error(f"--only names unknown systems: {', '.join(sorted(unknown))}")

    chosen = [system for system in SYSTEMS if system.name in names]
    truth = expected_checksums(chosen, args.copies)
    systems = [with_best_batch_size(each, args.copies, truth[each.name]) for each in chosen]
    text = document(systems, *take_turns(systems, args.runs, args.copies, truth))
    args.results.write_text(text)
    print(text)


if __name__ == "__main__":
    main()

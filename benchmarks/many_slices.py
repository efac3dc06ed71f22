"""What 10,000 slices of saved predictions cost `run_pipeline.py evaluate`: its peak memory above all.

    python -m benchmarks.many_slices

Two versions of a binary model, three columns of 3,333 values that have nothing to do with each other,
so each row is in four slices. Prints what the command took.
"""

import argparse
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import machine, workloads

NUM_FILES = 8
SLICE_COLUMNS = ("city", "shop", "product")
VALUES_PER_COLUMN = 3333
VERSIONS = (1, 2)
NUM_SLICES = 1 + len(SLICE_COLUMNS) * VALUES_PER_COLUMN  # the first is that of all rows
CONFIG = f"max_values_per_column: {VALUES_PER_COLUMN}\nmax_slices: {NUM_SLICES}\n"


def write_predictions(directory: Path, num_rows: int) -> Path:
    """Writes what `precompute` would have written of two versions, once."""
    if directory.exists():
        return directory
    unfinished = directory.with_name(f"unfinished-{directory.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    for version in VERSIONS:
        home = unfinished / "model_name=ranker" / f"model_version={version}"
        home.mkdir(parents=True)
        for number in range(NUM_FILES):
            path = home / f"part-{number:05d}-of-{NUM_FILES:05d}.parquet"
            pq.write_table(_predictions(version, number, num_rows // NUM_FILES), path)
    unfinished.rename(directory)
    return directory


def _predictions(version: int, number: int, rows: int) -> pa.Table:
    """Returns a file's rows: the same with each version, but for the scores."""
    source = np.random.default_rng([50, number])
    labels = (source.random(rows) < 0.1).astype(np.int64)
    slices = {
        name: pa.array(source.integers(0, VALUES_PER_COLUMN, rows).astype(np.int32))
        for name in SLICE_COLUMNS
    }
    shared = source.normal(size=rows)
    own = np.random.default_rng([51, number, version]).normal(size=rows)
    logits = (1.3 + 0.2 * version) * labels + shared + 0.3 * own - 2.5
    return pa.table(
        {
            "id": np.arange(number * rows, (number + 1) * rows),
            "label": labels,
            **slices,
            "probability": (1 / (1 + np.exp(-logits))).astype(np.float32),
        }
    )


def main() -> None:
    """Runs the command once and prints what it took."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    args = parser.parse_args()
    root = workloads.data_dir() / "evaluation"
    predictions = write_predictions(root / f"many-slices-{args.rows}", args.rows)
    output = workloads.fresh_output_dir("many-slices")
    config = output / "config.yaml"
    config.write_text(CONFIG)
    run = machine.run_or_exit(
        [
            *(sys.executable, "run_pipeline.py", "evaluate", f"--predictions={predictions}"),
            *("--baseline=1", "--candidate=2", "--label=label", "--example_key=id"),
            *(f"--slice={name}" for name in SLICE_COLUMNS),
            *(f"--eval_config={config}", f"--output={output}/out"),
        ]
    )
    print(run.stdout)
    print(
        f"{args.rows:,} rows: peak memory {run.max_rss_mb / 1024:.2f} GiB, {run.wall_secs:.0f} s in all"
    )


if __name__ == "__main__":
    main()

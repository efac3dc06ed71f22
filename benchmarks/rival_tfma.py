"""A rival: TensorFlow Model Analysis, on the same rows, saved predictions, slices and metrics.

    python -m benchmarks.rival_tfma

20,000 rows of the demo's table with the predictions of its versions 1 and 2; all rows, and the slices
of four columns and a pair. TFMA lives in an environment of its own, which the first run creates from
`requirements-tfma.txt`. Prints the seconds of both, in turns, and how far their numbers are apart.
"""

import argparse
import contextlib
import importlib
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks import machine, workloads
from benchmarks.environment import environment_python
from pipelines import demo_data

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

HERE = Path(__file__).resolve().parent
NUM_ROWS = 20_000
VERSIONS = ("1", "2")
LABEL, SCORE = demo_data.LABEL, "probability"
# Integers: TFMA does not find slices of floats again.
SLICE_COLUMNS = {"poor": "hlthp", "fair": "hlthf", "good": "hlthg", "deductible": "idp"}
SLICES = (*SLICE_COLUMNS, "deductible,good")
LIBRARIES = ("pipelines.launch", "pipelines.evaluate", "pipelines.report.html", "matplotlib.figure")
TFMA_BINS = 10_000
ROUNDING = 1e-6  # TFMA adds up scores of 32 bits
NAMES = {
    "auc": "auc",
    "accuracy": "binary_accuracy",
    "calibration_ratio": "calibration",
    "precision": "precision",  # these two of counts
    "recall": "recall",
}

Found = dict[tuple[str, str], dict[str, float]]  # by version and slice; by metric


class Secs(NamedTuple):
    """What one run took."""

    process: float
    pipeline: float


def main() -> None:
    """Runs both in turns and prints what they took and found."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument(
        "--here", help="only evaluate, in this process, and write to that directory"
    )
    args = parser.parse_args()
    root = workloads.data_dir() / "evaluation" / "visits"
    if args.here:
        print(json.dumps({"pipeline_secs": secs_here(our_command(root, args.here))}))
        return
    python = environment_python("tfma")
    make(root)
    rounds = [(run_tfma(python, root), run_ours(root)) for _ in range(args.runs)]
    theirs, ours = ([secs for secs, _ in each] for each in zip(*rounds, strict=True))
    (_, their_metrics), (_, our_metrics) = rounds[-1]
    print("\n".join([*table(theirs, ours), "", *machine.facts(), ""]))
    print("\n".join(differences(root, their_metrics, our_metrics)))


def make(root: Path) -> None:
    """Makes rows, models and predictions, once."""
    if (root / "rows.parquet").exists():
        return
    from pipelines import demo_models  # here, for the TensorFlow behind it takes seconds

    everything = demo_data.load_table()
    train, _ = demo_data.split(everything, seed=0)
    demo_models.train_versions(train, str(root / "models"), seed=0)
    rows = everything.slice(0, NUM_ROWS)
    for name, source in SLICE_COLUMNS.items():
        rows = rows.append_column(name, rows[source].cast(pa.int64()))
    pq.write_table(rows, root / "inputs.parquet")
    command = [
        *(sys.executable, "run_pipeline.py", "precompute", "--if_exists=overwrite"),
        *(f"--model_base_path={root}/models", f"--model_version={','.join(VERSIONS)}"),
        *(f"--input={root}/inputs.parquet", f"--output={root}/predictions", "--key=id"),
        f"--passthrough={','.join([LABEL, *SLICE_COLUMNS])}",
    ]
    machine.run_or_exit(command)
    pq.write_table(_with_predictions(root), root / "rows.parquet")


def _with_predictions(root: Path) -> pa.Table:
    """Returns the rows with the predictions of each version in a column called after it."""
    baseline, candidate = (_saved(root, each) for each in VERSIONS)
    if not candidate["id"].equals(baseline["id"]):
        sys.exit("the versions' predictions are not in the same order")
    names = [VERSIONS[0] if each == SCORE else each for each in baseline.column_names]
    return baseline.rename_columns(names).append_column(VERSIONS[1], candidate[SCORE])


def _saved(root: Path, version: str) -> pa.Table:
    files = sorted((root / "predictions").glob(f"*/model_version={version}/*.parquet"))
    rows = pa.concat_tables([pq.ParquetFile(each).read() for each in files])
    columns = {name: rows[name] for name in ["id", LABEL, *SLICE_COLUMNS]}
    scores = rows[SCORE]
    return pa.table(columns | {SCORE: pc.list_flatten(scores) if _is_list(scores) else scores})


def _is_list(column: pa.ChunkedArray) -> bool:
    return bool(pa.types.is_fixed_size_list(column.type) or pa.types.is_list(column.type))


def run_tfma(python: Path, root: Path) -> tuple[Secs, Found]:
    """Evaluates with TFMA."""
    command = [
        *(str(python), "-P", str(HERE / "tfma_job.py"), f"--rows={root}/rows.parquet"),
        *(f"--label={LABEL}", f"--output={workloads.fresh_output_dir('tfma')}"),
        *(f"--version={each}" for each in VERSIONS),
        *(f"--slice={each}" for each in SLICES),
    ]
    run = machine.run_or_exit(command)
    printed = json.loads(run.stdout.splitlines()[-1])
    found = {
        (version, name): metrics | _shares(metrics)
        for version, slices in printed["found"].items()
        for name, metrics in slices.items()
    }
    return Secs(run.wall_secs, printed["pipeline_secs"]), found


def _shares(metrics: dict[str, float]) -> dict[str, float]:
    hits = metrics["true_positives"]
    return {
        "precision": hits / (hits + metrics["false_positives"]),
        "recall": hits / (hits + metrics["false_negatives"]),
    }


def our_command(root: Path, output: str | Path) -> list[str]:
    """Returns the arguments of `run_pipeline.py`."""
    return [
        *("evaluate", f"--predictions={root}/predictions", f"--output={output}"),
        *(f"--baseline={VERSIONS[0]}", f"--candidate={VERSIONS[1]}", "--if_exists=overwrite"),
        *(f"--label={LABEL}", "--example_key=id", "--task=binary"),
        *(f"--slice={each}" for each in SLICES),
    ]


def run_ours(root: Path) -> tuple[Secs, Found]:
    """Evaluates with this project: once as users do, and once with the libraries imported before."""
    output = workloads.fresh_output_dir("visits") / "out"
    run = machine.run_or_exit([sys.executable, "run_pipeline.py", *our_command(root, output)])
    here = machine.run_or_exit([sys.executable, "-m", __spec__.name, f"--here={output}"])
    pipeline_secs = json.loads(here.stdout.splitlines()[-1])["pipeline_secs"]
    return Secs(run.wall_secs, pipeline_secs), metrics_of(output)


def secs_here(command: list[str]) -> float:
    """Runs the command in this process and returns its seconds without imports."""
    cli = importlib.import_module("pipelines.cli")
    for each in LIBRARIES:
        importlib.import_module(each)
    start = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):
        exit_code = cli.main(command)
    if exit_code:
        sys.exit(exit_code)
    return time.perf_counter() - start


def metrics_of(output: Path) -> Found:
    """Reads what this project found: values, and the bounds of those that are binned."""
    found: Found = {}
    rows: list[dict[str, Any]] = pq.ParquetFile(output / "metrics.parquet").read().to_pylist()
    for row in rows:
        if row["baseline"] is None and row["value"] is not None:
            name = ",".join(f"{column}={value}" for column, value in sorted(row["slice"]))
            metrics = found.setdefault((str(row["version"]), name), {"count": row["n"]})
            metrics[row["metric"]] = row["value"]
            metrics[f"{row['metric']} bound"] = (row["bound_hi"] - row["bound_lo"]) / 2
    return found


def table(theirs: list[Secs], ours: list[Secs]) -> Iterator[str]:
    """Yields the seconds and rates, medians, and the medians of the ratios of pairs."""
    yield "| | whole process, s | ratio | without imports, s | rows/s | ratio |"
    yield "|---|---|---|---|---|---|"
    for name, secs in (("TFMA", theirs), ("evaluate", ours)):
        process, pipeline = (statistics.median(each) for each in zip(*secs, strict=True))
        first, second = (
            statistics.median(
                mine[at] / other[at] for mine, other in zip(theirs, secs, strict=True)
            )
            for at in range(2)
        )
        yield f"| {name} | {process:.1f} | {first:.1f} | {pipeline:.1f} | {NUM_ROWS / pipeline:,.0f} | {second:.1f} |"


def differences(root: Path, theirs: Found, ours: Found) -> Iterator[str]:
    """Yields the largest difference of each metric; ends the process where one is beyond its bound."""
    if set(theirs) != set(ours):
        sys.exit(f"other slices: {sorted(set(theirs) ^ set(ours))}")
    rows = pq.ParquetFile(root / "rows.parquet").read()
    for name, their_name in NAMES.items():
        far, margin = 0.0, 0.0
        for at, metrics in ours.items():
            allowed = metrics[f"{name} bound"] + ROUNDING
            allowed += bin_bound(_slice(rows, at[1]), at[0]) if name == "auc" else 0.0
            off = abs(metrics[name] - theirs[at][their_name])
            if not off <= allowed:
                sys.exit(f"{name} of {at} is {off:.3g} away from TFMA's, and may be {allowed:.3g}")
            far, margin = max(far, off), max(margin, allowed)
        yield f"{name}: {len(ours)} numbers, at most {far:.1e} apart, allowed up to {margin:.1e}"


def _slice(rows: pa.Table, name: str) -> pa.Table:
    for pair in filter(None, name.split(",")):
        column, _, value = pair.partition("=")
        rows = rows.filter(pc.equal(rows[column], int(value)))
    return rows


def bin_bound(rows: pa.Table, version: str) -> float:
    """Returns how far an AUC of TFMA's bins may be from that of the scores.

    Half of the pairs of a positive and a negative with other scores that share a bin.
    """
    labels, scores = rows[LABEL].to_numpy(), rows[version].to_numpy()
    bins = (scores * TFMA_BINS).astype(np.int64)
    tied = np.unique(scores, return_inverse=True)[1]
    positives, negatives = int(labels.sum()), int((1 - labels).sum())
    return (_pairs(bins, labels) - _pairs(tied, labels)) / (2 * positives * negatives)


def _pairs(places: np.ndarray, labels: np.ndarray) -> int:
    """Returns how many pairs of a positive and a negative share a place."""
    counts = [np.bincount(places[labels == each], minlength=places.max() + 1) for each in (0, 1)]
    return int(counts[0] @ counts[1])


if __name__ == "__main__":
    main()

"""What evaluating two versions costs beside precomputing them, side by side on the same rows.

    python -m benchmarks.evaluation

Two networks of 16 inputs: a small one, next to which everything else shows, and one with sixteen
times the arithmetic. Each is precomputed, evaluated, and evaluated with 120 slices, in turns, each
in a process of its own. The seconds are those that the job tells, less those of the same job on few
rows: start-up and the count of the slice columns are left out. Prints the figures and writes them to
`evaluation.md` beside this file.
"""

import argparse
import os
import re
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import machine
from benchmarks.workloads import data_dir, fresh_output_dir

PAGE = Path(__file__).with_suffix(".md")
NUM_FEATURES, NUM_FILES = 16, 8
FEW_ROWS = 8000
WIDTHS = {"small": 128, "medium": 512}
VERSIONS = (1, 2)
SLICES = ("--slice=country", "--slice=country,device")
_SECONDS = re.compile(r"^done: .* in ([0-9.]+) s, ", re.MULTILINE)


def main() -> None:
    options = _options()
    if options.save:
        save_models(Path(options.save))
        return
    root = data_dir() / "evaluation"
    data = write_data(root / f"rows-{options.rows}", options.rows)
    few = write_data(root / f"rows-{FEW_ROWS}", FEW_ROWS)
    models = root / "networks"
    if not models.exists():
        machine.run_or_exit([sys.executable, "-m", __spec__.name, "--save", str(models)])
    rows = {"small": options.copies, "medium": max(1, options.copies // 4)}
    lines = [
        "| network | rows | precompute | evaluate | ratio | with 120 slices | ratio |",
        "|---|---|---|---|---|---|---|",
        *(
            row(name, models / name, linked(data, copies), few, options)
            for name, copies in rows.items()
        ),
    ]
    text = "\n".join([*lines, "", *machine.facts()])
    print(text)
    words = (
        "Seconds without start-up, medians of runs in turns, and medians of the ratios of turns; "
    )
    PAGE.write_text(f"# Evaluation\n\n{words}two versions, binary task.\n\n{text}\n")


def row(name: str, model: Path, data: Path, few: Path, options: argparse.Namespace) -> str:
    """Returns the figures of one network."""
    precompute = ["precompute", "--model_version=all", "--key=id", "--passthrough=label"]
    evaluate = ["evaluate", "--baseline=1", "--candidate=2", "--label=label", "--example_key=id"]
    jobs = {"P": precompute, "E": evaluate, "S": [*evaluate, *SLICES]}
    started: dict[str, list[float]] = {each: [] for each in jobs}
    found: dict[str, list[float]] = {each: [] for each in jobs}
    for _ in range(options.runs):
        for job, words in jobs.items():
            started[job].append(_told_secs(words, model, few))
            found[job].append(_told_secs(words, model, data))
            print(f"{name} {job}: {found[job][-1]} s, start {started[job][-1]} s", file=sys.stderr)
    found = {
        job: [secs - statistics.median(started[job]) for secs in each]
        for job, each in found.items()
    }
    secs = {job: statistics.median(each) for job, each in found.items()}
    ratios = {
        job: statistics.median(mine / base for mine, base in zip(each, found["P"], strict=True))
        for job, each in found.items()
    }
    num_rows = options.rows * len(list(data.iterdir())) // NUM_FILES
    shown = f"| {name} | {num_rows:,} | {secs['P']:.1f} s | {secs['E']:.1f} s | {ratios['E']:.2f} |"
    return f"{shown} {secs['S']:.1f} s | {ratios['S']:.2f} |"


def _told_secs(words: list[str], model: Path, data: Path) -> float:
    """Returns the seconds that a job tells of its units, which may have its start in them."""
    output = fresh_output_dir(f"evaluation-{words[0]}")
    command = [
        sys.executable,
        "run_pipeline.py",
        *words,
        f"--model_base_path={model}",
        f"--input={data}/*.parquet",
        f"--output={output}/out",
    ]
    match = _SECONDS.search(printed := machine.run_or_exit(command).stdout)
    shutil.rmtree(output)
    if match is None:
        sys.exit(f"no figures in:\n{printed}")
    return float(match[1])


def linked(data: Path, copies: int) -> Path:
    """Returns a directory in which each file of `data` has `copies` names."""
    directory = data.with_name(f"{data.name}-x{copies}")
    directory.mkdir(exist_ok=True)
    for copy in range(copies):
        for path in data.iterdir():
            name = directory / f"copy-{copy:03d}-{path.name}"
            if not name.exists():
                os.link(path, name)
    return directory


def write_data(directory: Path, num_rows: int) -> Path:
    """Writes the rows, once."""
    if directory.exists():
        return directory
    unfinished = directory.with_name(f"unfinished-{directory.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for number in range(NUM_FILES):
        rows = num_rows // NUM_FILES
        rng = np.random.default_rng(number)
        features = rng.normal(size=rows * NUM_FEATURES).astype(np.float32)
        table = pa.table(
            {
                "id": np.arange(rows) + number * rows,
                "features": pa.FixedSizeListArray.from_arrays(pa.array(features), NUM_FEATURES),
                "label": rng.integers(0, 2, rows),
                "country": pa.array(rng.choice([f"c{each:02d}" for each in range(20)], rows)),
                "device": pa.array(rng.choice(list("abcde"), rows)),
            }
        )
        pq.write_table(table, unfinished / f"part-{number}.parquet", row_group_size=1 << 16)
    unfinished.rename(directory)
    return directory


def save_models(directory: Path) -> None:
    """Saves both versions of both networks."""
    import tensorflow as tf

    for name, width in WIDTHS.items():
        for version in VERSIONS:
            rng = np.random.default_rng(version)
            shapes = [(NUM_FEATURES, width), (width, width), (width, 1)]
            weights = [
                tf.Variable((rng.normal(size=each) / np.sqrt(each[0])).astype(np.float32))
                for each in shapes
            ]
            _save(directory / name / str(version), weights)


def _save(path: Path, weights: list[Any]) -> None:
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([None, NUM_FEATURES], tf.float32, "features")])
    def predict(features: Any) -> dict[str, Any]:
        hidden = tf.nn.relu(features @ weights[0])
        hidden = tf.nn.relu(hidden @ weights[1])
        return {"probability": tf.sigmoid(tf.squeeze(hidden @ weights[2], axis=1))}

    module = tf.Module()
    module.weights = weights
    tf.saved_model.save(module, str(path), signatures={"serving_default": predict})


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--copies", type=int, default=4, help="read the rows so many times over")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--save", help="only save the models there")
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""Evaluations for tests: labelled data, versions of a model, and runs in this process."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.cli import main
from tests.datasets import write_parquet
from tests.models import call_model, save_probability

NUM_ROWS = 3000
FILE_ROWS = (1300, 900, 800)


def labelled_table(num_rows: int = NUM_ROWS) -> pa.Table:
    """Returns rows with features, a label that they make likely, and columns to slice by."""
    random = np.random.default_rng(0)
    features = random.normal(size=(num_rows, 4)).astype(np.float32)
    weights = np.random.default_rng(1).normal(size=4)
    chance = 1 / (1 + np.exp(-features @ weights))
    columns = {
        "id": np.arange(num_rows, dtype=np.int64),
        "features": pa.FixedSizeListArray.from_arrays(pa.array(features.ravel()), 4),
        "label": (random.random(num_rows) < chance).astype(np.int64),
        "weight": random.integers(1, 4, num_rows).astype(np.float64),
        "country": pa.array(random.choice(["DE", "FR", "IT"], num_rows, p=[0.6, 0.3, 0.1])),
        "age": random.integers(18, 80, num_rows),
        "user": pa.array([f"user-{each}" for each in random.integers(0, 400, num_rows)]),
        "amount": (features @ weights + random.normal(size=num_rows)).astype(np.float64),
    }
    return pa.table(columns)


def write_data(directory: Path, table: pa.Table | None = None) -> str:
    """Writes labelled rows as several files, and returns the glob of them."""
    table = labelled_table() if table is None else table
    file_rows = FILE_ROWS if table.num_rows == NUM_ROWS else (table.num_rows,)
    write_parquet(table, directory, file_rows, 400)
    return f"{directory}/*.parquet"


def save_versions(base_path: Path, versions: Sequence[int] = (1, 2, 3)) -> Path:
    """Saves versions of a model of probabilities, and returns their base path."""
    for each in versions:
        save_probability(base_path, each)
    return base_path


def predictions(base_path: Path, version: int, table: pa.Table) -> np.ndarray[Any, Any]:
    """Returns what a version says of the rows, called directly."""
    matrix = table["features"].combine_chunks().flatten().to_numpy().reshape(-1, 4)
    return call_model(f"{base_path}/{version}", features=matrix)["probability"]


def evaluate(
    base_path: Path | None, data: str | None, output: Path | str, *flags: str, label: str = "label"
) -> int:
    """Runs the command in this process and returns its exit code."""
    models = [] if base_path is None else [f"--model_base_path={base_path}"]
    inputs = [] if data is None else [f"--input={data}"]
    labels = [f"--label={label}"] if label else []
    return main(["evaluate", *models, *inputs, *labels, f"--output={output}", *flags])

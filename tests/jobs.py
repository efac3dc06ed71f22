"""Runs precompute jobs in this process and reads what they wrote."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds

from pipelines.options import PrecomputeOptions
from pipelines.precompute import RunReport, run
from transforms.execution import ExecutionOptions


def run_job(
    base_path: str | Path,
    inputs: str | Path | Sequence[str],
    output: str | Path,
    *,
    max_batch_size: int | None = None,
    num_batch_threads: int | None = None,
    **options: Any,
) -> RunReport:
    """Runs a job to its end; `options` are those of `PrecomputeOptions`."""
    given = (str(inputs),) if isinstance(inputs, str | Path) else tuple(inputs)
    return run(
        PrecomputeOptions(
            model_base_path=str(base_path),
            input=given,
            output=str(output),
            execution=ExecutionOptions(
                max_batch_size=max_batch_size, num_batch_threads=num_batch_threads
            ),
            **options,
        )
    )


def read_output(output: str | Path, key: str | Sequence[str] = "id") -> pa.Table:
    """Returns all rows as any reader of a Hive-style directory sees them, sorted by `key`."""
    names = [key] if isinstance(key, str) else list(key)
    table = ds.dataset(str(output), partitioning="hive").to_table()
    return table.sort_by([(name, "ascending") for name in names])


def values(column: pa.ChunkedArray) -> np.ndarray:
    """Returns a column as an array: a matrix where it holds fixed-size lists."""
    array = column.combine_chunks()
    shape = [len(array)]
    while pa.types.is_fixed_size_list(array.type):
        shape.append(array.type.list_size)
        array = array.flatten()
    return array.to_numpy(zero_copy_only=False).reshape(shape)

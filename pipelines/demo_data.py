"""The demo's data: a real table, small enough to ship inside a package, as Parquet and TFRecord.

The RAND health-insurance experiment assigned families to insurance plans at random and counted
their visits to the doctor. Each row is one person's year; the question for a model is whether the
person sees a doctor at all. `statsmodels` carries the 20,190 rows (public domain), so nothing is
downloaded:

    table = load_table()                     id, nine features, visited
    train, held_out = split(table, seed=0)   two halves
    write_parquet(held_out, "in/parquet")    part-00000-of-00004.parquet, ...
    write_tfrecord(held_out, "in/tfrecord")  part-00000-of-00004.tfrecord, ...
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from servable_core.errors import FailedPreconditionError, InvalidArgumentError

ID = "id"
LABEL = "visited"
FEATURES = (
    "lncoins",  # ln(coinsurance rate + 1): the share of the bill that the person pays
    "idp",  # 1 on a plan with a deductible per person
    "lpi",  # ln(yearly payment for taking part), 0 where there was none
    "fmde",  # ln(ceiling of the deductible / coinsurance), 0 where there is none
    "physlm",  # has a physical limitation
    "disea",  # number of chronic diseases
    "hlthg",  # rates the own health as good; as excellent where all three are 0
    "hlthf",  # ... as fair
    "hlthp",  # ... as poor
)
_VISITS = "mdvis"


def load_table() -> pa.Table:
    """Returns the whole data set.

    Returns:
        int64 `id` from 0, the FEATURES as float32, and int64 `visited`, 0 or 1.

    Raises:
        FailedPreconditionError: `statsmodels` is not installed.
    """
    try:
        from statsmodels.datasets import randhie
    except ModuleNotFoundError as error:
        raise FailedPreconditionError(
            "the demo's data comes with the package statsmodels: pip install 'bulk-inference[demo]'"
        ) from error
    frame = randhie.load_pandas().data
    columns = {ID: np.arange(len(frame), dtype=np.int64)}
    columns |= {name: frame[name].to_numpy(np.float32) for name in FEATURES}
    columns[LABEL] = (frame[_VISITS].to_numpy() > 0).astype(np.int64)
    return pa.table(columns)


def split(table: pa.Table, seed: int) -> tuple[pa.Table, pa.Table]:
    """Splits the rows at random into two halves, each in the order of `table`.

    Args:
        table: The rows to split.
        seed: The same seed gives the same halves.

    Returns:
        The half to train on and the half held out.
    """
    order = np.random.default_rng(seed).permutation(table.num_rows)
    middle = table.num_rows // 2
    return table.take(np.sort(order[:middle])), table.take(np.sort(order[middle:]))


def write_parquet(table: pa.Table, directory: str, num_files: int = 4) -> list[str]:
    """Writes the rows in order as Parquet files of nearly equal length.

    Args:
        table: The rows to write.
        directory: Where to write; created if it is not there.
        num_files: How many files to write, at least 1.

    Returns:
        The paths written.

    Raises:
        InvalidArgumentError: `num_files` is below 1.
    """
    import pyarrow.parquet as pq

    paths = []
    for path, rows in _parts(table, directory, num_files, "parquet"):
        pq.write_table(rows, path)
        paths.append(path)
    return paths


def write_tfrecord(table: pa.Table, directory: str, num_files: int = 4) -> list[str]:
    """Writes the rows in order as TFRecord files of tf.train.Example, one feature per column.

    Args:
        table: The rows to write; integer columns become int64_list, others float_list.
        directory: Where to write; created if it is not there.
        num_files: How many files to write, at least 1.

    Returns:
        The paths written.

    Raises:
        InvalidArgumentError: `num_files` is below 1.
    """
    import tensorflow as tf

    paths = []
    for path, rows in _parts(table, directory, num_files, "tfrecord"):
        with tf.io.TFRecordWriter(path) as writer:
            for row in rows.to_pylist():
                writer.write(_example(row))
        paths.append(path)
    return paths


def _parts(
    table: pa.Table, directory: str, num_files: int, suffix: str
) -> Iterator[tuple[str, pa.Table]]:
    if num_files < 1:
        raise InvalidArgumentError(
            f"num_files is {num_files} for {directory}; expected 1 or more: pass a positive number"
        )
    Path(directory).mkdir(parents=True, exist_ok=True)
    ends = [table.num_rows * i // num_files for i in range(num_files + 1)]
    for i in range(num_files):
        name = f"part-{i:05d}-of-{num_files:05d}.{suffix}"
        yield str(Path(directory) / name), table.slice(ends[i], ends[i + 1] - ends[i])


def _example(row: dict[str, Any]) -> bytes:
    import tensorflow as tf

    example = tf.train.Example()
    for name, value in row.items():
        feature = example.features.feature[name]
        values = feature.int64_list if isinstance(value, int) else feature.float_list
        values.value.append(value)
    return bytes(example.SerializeToString(deterministic=True))

"""Runs the command line in this process on bad input, and checks how it refuses."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.cli import main
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from tests.models import save_signatures

NUM_ROWS = 20


@dataclass(frozen=True)
class Files:
    """A directory tree by path and size, to compare it with itself later."""

    sizes: dict[str, int]

    @classmethod
    def below(cls, path):
        root = Path(path)
        found = sorted(root.rglob("*")) if root.is_dir() else [root] if root.exists() else []
        return cls({str(each): each.stat().st_size for each in found if each.is_file()})


@pytest.fixture(scope="session", name="base_path")
def _base_path(tmp_path_factory):
    """Versions 1 and 3: `x` float32 [None, 3] -> `score`; `wide`: `left` and `right` -> `sum`."""
    tf = import_tensorflow()
    base_path = tmp_path_factory.mktemp("models") / "ranker"
    kernel = tf.Variable(tf.ones([3, 1]))
    signatures = {
        "serving_default": (
            lambda x: {"score": x @ kernel},
            {"x": tf.TensorSpec([None, 3], tf.float32)},
        ),
        "wide": (
            lambda left, right: {"sum": left + right},
            {"left": tf.TensorSpec([None], tf.float32), "right": tf.TensorSpec([None], tf.float32)},
        ),
    }
    for version in (1, 3):
        save_signatures(base_path, version, signatures, [kernel])
    return str(base_path)


def vectors(rows, num_values=3, value_type=None):
    """Returns a column of fixed-size lists."""
    return pa.array(rows, pa.list_(value_type or pa.float32(), num_values))


def _table():
    values = np.arange(3 * NUM_ROWS, dtype=np.float32).reshape(NUM_ROWS, 3)
    return pa.table(
        {
            "id": np.arange(NUM_ROWS),
            "x": vectors(list(values)),
            "text": [f"row {row}" for row in range(NUM_ROWS)],
        }
    )


@pytest.fixture(scope="session", name="data_path")
def _data_path(tmp_path_factory):
    """Twenty good rows: `id`, `x` and `text`, in row groups of five."""
    path = tmp_path_factory.mktemp("data") / "rows.parquet"
    pq.write_table(_table(), path, row_group_size=5)
    return str(path)


@pytest.fixture(name="write_rows")
def _write_rows(tmp_path):
    """Writes a Parquet file of columns; returns the flag that reads it."""

    def write(row_group_size=5, **columns):
        path = tmp_path / "rows.parquet"
        pq.write_table(pa.table(columns), path, row_group_size=row_group_size)
        return f"--input={path}"

    return write


@pytest.fixture(name="output")
def _output(tmp_path):
    return tmp_path / "output"


@pytest.fixture(name="precompute_args")
def _precompute_args(base_path, data_path, output):
    """Returns a good command line with some flags replaced, added or left out."""

    def args(*flags, without=()):
        given = {
            "--model_base_path": base_path,
            "--input": data_path,
            "--key": "id",
            "--output": str(output),
        }
        replaced = {flag.split("=", 1)[0] for flag in flags}
        kept = [
            f"{name}={value}"
            for name, value in given.items()
            if name not in replaced and name not in without
        ]
        return ["precompute", *kept, *flags]

    return args


@pytest.fixture(name="refusal")
def _refusal(precompute_args, output, capfd):
    """Runs `precompute` on something bad and returns the message, `error: ` cut off.

    Checks on the way what all refusals have in common: exit code 2, one message on stderr and
    nothing beside it, no traceback, nothing written.
    """

    def run(*flags, without=(), num_lines=1, command=None):
        before = Files.below(output)
        code = main(command or precompute_args(*flags, without=without))
        captured = capfd.readouterr()
        assert code == 2, captured.err
        assert captured.out == ""
        assert "Traceback" not in captured.err
        assert captured.err.startswith("error: ")
        assert captured.err.count("\n") == num_lines, captured.err
        assert captured.err.count("error: ") == 1
        assert Files.below(output) == before
        return captured.err.removeprefix("error: ").rstrip("\n")

    return run

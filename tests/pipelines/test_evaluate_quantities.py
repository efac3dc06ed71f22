"""Labels of regression as files have them."""

import json
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import r2_score

from tests.evaluation_jobs import evaluate
from tests.transforms.evaluation.saved import save_version

_ROWS = 600


def _evaluate(directory, labels):
    """Returns R2 of two versions of which the second is off by one."""
    truth = np.random.default_rng(0).normal(size=_ROWS) * 10
    for version, shift in ((1, 0.5), (2, 1.0)):
        columns = {"id": np.arange(_ROWS), "y": labels(truth), "value": truth + shift}
        save_version(directory / "p", version, [pa.table(columns)])
    flags = (f"--predictions={directory / 'p'}", "--example_key=id", "--task=regression")
    assert evaluate(None, None, directory / "out", *flags, label="y") == 0
    document = json.loads((directory / "out" / "metrics.json").read_text())
    found = {
        each["version"]: each["value"]
        for each in document["metrics"]
        if each["metric"] == "r2" and not each["is_difference"]
    }
    return truth, found


def test_labels_in_lists_of_one(tmp_path):
    truth, found = _evaluate(tmp_path, lambda y: pa.FixedSizeListArray.from_arrays(pa.array(y), 1))
    assert found[2] == pytest.approx(r2_score(truth, truth + 1), abs=1e-9)


def test_a_label_beyond_all_bounds_does_not_move_the_others(tmp_path):
    """It is counted as a bad one; what the others are centred by does not know it."""

    def with_outlier(truth):
        return np.where(np.arange(_ROWS) == 3, 1e15, truth)

    truth, found = _evaluate(tmp_path, with_outlier)
    usable = np.delete(truth, 3)
    assert found[2] == pytest.approx(r2_score(usable, usable + 1), abs=1e-9)


@pytest.mark.parametrize("shift", [0, 1e6], ids=["near 0", "far from 0"])
def test_states_are_the_same_bytes_in_other_files_and_another_order(tmp_path, shift):
    truth = np.random.default_rng(2).normal(size=_ROWS) * 10 + shift
    table = pa.table({"id": np.arange(_ROWS), "y": truth})
    found = []
    for name, cuts in (("few", [_ROWS]), ("many", [70, 300, 450, _ROWS])):
        order = np.random.default_rng(len(cuts)).permutation(_ROWS)
        for version, error in ((1, 0.5), (2, 1.0)):
            rows = table.append_column("value", pa.array(truth + error)).take(order)
            parts = [rows.slice(low, high - low) for low, high in pairwise([0, *cuts])]
            save_version(tmp_path / name, version, parts)
        flags = (f"--predictions={tmp_path / name}", "--example_key=id", "--task=regression")
        output = tmp_path / f"out_{name}"
        assert evaluate(None, None, output, *flags, label="y") == 0
        found.append({each.name: each.read_bytes() for each in output.glob("states/*.parquet")})
    assert len(found[0]) > 4
    assert found[0] == found[1]


def test_r2_of_labels_far_from_zero(tmp_path):
    truth, found = _evaluate(tmp_path, lambda y: y + 1e6)
    assert found[2] == pytest.approx(r2_score(truth + 1e6, truth + 1), rel=1e-9)

"""The numbers as files."""

import json
import math

import pyarrow.parquet as pq
import pytest

from transforms.evaluation.metric_tables import read_metrics, write_metrics
from transforms.evaluation.results import EvaluationResults, MetricResult, SliceResult
from transforms.metrics import Estimate, Method

GERMANY = (("country", "DE"),)


def _metric(metric, value, **fields):
    estimate = Estimate(value=value, standard_error=0.01, method=Method.DELTA)
    return MetricResult(metric=metric, version=2, num_rows=100, estimate=estimate, **fields)


@pytest.fixture(name="results")
def _results():
    others = [
        SliceResult(slice_id=2 + index, key=(("id", str(index)),), num_rows=index, is_scored=False)
        for index in range(40)
    ]
    return EvaluationResults(
        model_name="m",
        baseline=1,
        candidates=(2,),
        slices=(
            SliceResult(slice_id=0, key=(), num_rows=100, is_scored=True),
            SliceResult(slice_id=1, key=GERMANY, num_rows=60, is_scored=True),
            *others,
        ),
        metrics=(
            _metric("f1", math.nan),
            _metric("auc", 0.75, is_difference=True),
            _metric("auc", 0.8, slice=GERMANY),
        ),
    )


def test_the_table_has_a_row_for_each_metric(results, tmp_path):
    write_metrics(results, str(tmp_path), 0.9)
    rows = pq.read_table(tmp_path / "metrics.parquet").to_pylist()
    assert [each["metric"] for each in rows] == ["auc", "auc", "f1"]
    change, german, undefined = rows
    assert (change["baseline"], german["baseline"]) == (1, None)
    assert (change["slice"], german["slice"]) == ([], list(GERMANY))
    assert change["ci_lo"] < 0.75 < change["ci_hi"]
    assert change["ci_level"] == 0.9
    assert undefined["flags"] == ["undefined"]
    assert math.isnan(undefined["value"])


def test_json_has_no_word_for_nan_and_few_slices(results, tmp_path):
    write_metrics(results, str(tmp_path), 0.95, {"data_files": 3})
    text = (tmp_path / "metrics.json").read_text()
    document = json.loads(text, parse_constant=pytest.fail)
    assert document["facts"] == {"data_files": 3}
    assert [each["value"] for each in document["metrics"]] == [None, 0.75, 0.8]
    assert len(document["slices"]) == 21
    assert document["slices_left_out"] == 21
    assert document["slices"][0]["slice"] == {}
    assert document["slices"][1]["slice"] == {"country": "DE"}
    assert sum('"metric":' in line for line in text.splitlines()) == 3


def test_equal_results_give_equal_bytes(results, tmp_path):
    for name in ("a", "b"):
        write_metrics(results, str(tmp_path / name), 0.95)
    for name in ("metrics.json", "metrics.parquet"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_metrics_are_read_back(results, tmp_path):
    write_metrics(results, str(tmp_path), 0.95, states_sha256="5a", formulas_sha256="f0")
    found = read_metrics(str(tmp_path), results.slices, "5a", "f0")
    by_slice = sorted(results.metrics, key=lambda each: len(each.slice))
    assert [repr(each) for each in found] == [repr(each) for each in by_slice]  # NaN is not itself


def test_metrics_of_other_states_are_not_read(results, tmp_path):
    assert read_metrics(str(tmp_path), results.slices, "5a", "f0") is None
    write_metrics(results, str(tmp_path), 0.95, states_sha256="5a", formulas_sha256="f0")
    assert read_metrics(str(tmp_path), results.slices, "5b", "f0") is None
    assert read_metrics(str(tmp_path), results.slices, "5a", "f0") is not None
    assert read_metrics(str(tmp_path), results.slices, "5a", "f1") is None  # another release
    table = tmp_path / "metrics.parquet"
    table.write_bytes(table.read_bytes()[:-9])
    assert read_metrics(str(tmp_path), results.slices, "5a", "f0") is None


def test_metrics_of_states_that_are_not_in_files_are_not_read(results, tmp_path):
    write_metrics(results, str(tmp_path), 0.95)
    assert read_metrics(str(tmp_path), results.slices, "", "f0") is None


def test_damaged_metrics_are_not_read(results, tmp_path):
    """Else a gate would judge by them."""
    write_metrics(results, str(tmp_path), 0.95, states_sha256="5a", formulas_sha256="f0")
    table = tmp_path / "metrics.parquet"
    content = table.read_bytes()
    whole = repr(list(read_metrics(str(tmp_path), results.slices, "5a", "f0")))
    num_refused = 0
    for place in range(0, len(content), 23):
        damaged = bytearray(content)
        damaged[place] ^= 0x10
        table.write_bytes(damaged)
        found = read_metrics(str(tmp_path), results.slices, "5a", "f0")
        num_refused += found is None
        assert found is None or repr(list(found)) == whole
    assert num_refused > 50

"""The numbers as files: `metrics.parquet`, a long table of all, and `metrics.json`, the main ones."""

import io
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from transforms.evaluation.results import EvaluationResults, MetricResult, SliceResult
from transforms.storage import write_bytes

METRICS_TABLE = "metrics.parquet"
METRICS_FILE = "metrics.json"
NO_FACTS: Mapping[str, Any] = MappingProxyType({})
_SCHEMA_NAME = "eval.metrics/1"
_MAX_SLICES_IN_JSON = 20
_COLUMNS = pa.schema(
    [
        ("model", pa.string()),
        ("version", pa.int64()),
        ("baseline", pa.int64()),
        ("slice_id", pa.int64()),
        ("slice", pa.map_(pa.string(), pa.string())),
        ("metric", pa.string()),
        ("sub_key", pa.string()),
        ("value", pa.float64()),
        ("se", pa.float64()),
        ("ci_lo", pa.float64()),
        ("ci_hi", pa.float64()),
        ("ci_level", pa.float64()),
        ("ci_method", pa.string()),
        ("bound_lo", pa.float64()),
        ("bound_hi", pa.float64()),
        ("n", pa.int64()),
        ("n_eff", pa.float64()),
        ("flags", pa.list_(pa.string())),
    ]
)


def write_metrics(
    results: EvaluationResults, output: str, level: float, facts: Mapping[str, Any] = NO_FACTS
) -> None:
    """Writes both files below `output`.

    Args:
        results: What was measured.
        output: Output directory.
        level: Of the intervals.
        facts: Where models and data come from, to be told as well.
    """
    write_bytes(output, f"{output}/{METRICS_TABLE}", _parquet(results, level))
    document = {**metrics_document(results, level), "facts": dict(facts)}
    write_bytes(output, f"{output}/{METRICS_FILE}", _json(document).encode())


def _json(document: dict[str, Any]) -> str:
    """Returns a document with a line for each metric, for diffs and for people."""
    metrics = ",\n".join(json.dumps(each, sort_keys=True) for each in document.pop("metrics"))
    rest = json.dumps(document, indent=1, sort_keys=True).removesuffix("\n}")
    return f'{rest},\n "metrics": [\n{metrics}\n ]\n}}\n'


def metrics_table(
    results: EvaluationResults, metrics: Sequence[MetricResult], level: float
) -> pa.Table:
    """Returns the long table of some of the metrics: `baseline` is null where nothing is compared."""
    ids = {each.key: each.slice_id for each in results.slices}
    estimates = [each.estimate for each in metrics]
    intervals = [each.interval(level) for each in estimates]
    columns: list[Any] = [
        [results.model_name] * len(metrics),
        [each.version for each in metrics],
        [results.baseline if each.is_difference else None for each in metrics],
        [ids[each.slice] for each in metrics],
        [each.slice for each in metrics],
        [each.metric for each in metrics],
        [each.sub_key for each in metrics],
        [each.value for each in estimates],
        [each.standard_error for each in estimates],
        [lower for lower, _ in intervals],
        [upper for _, upper in intervals],
        [level] * len(metrics),
        [each.method.value for each in estimates],
        [each.lower_bound for each in estimates],
        [each.upper_bound for each in estimates],
        [each.num_rows for each in metrics],
        [each.effective_rows for each in estimates],
        [_flags(each) for each in metrics],
    ]
    arrays = [pa.array(each, field.type) for each, field in zip(columns, _COLUMNS, strict=True)]
    return pa.Table.from_arrays(arrays, schema=_COLUMNS)


def metrics_document(results: EvaluationResults, level: float) -> dict[str, Any]:
    """Returns the metrics of all rows and of the largest slices, as JSON has them."""
    told = _told_slices(results)
    keys = {each.key for each in told}
    return {
        "schema": _SCHEMA_NAME,
        "model": results.model_name,
        "baseline": results.baseline,
        "candidates": list(results.candidates),
        "ci_level": level,
        "slices": [_slice_document(each) for each in told],
        "slices_left_out": len(results.slices) - len(told),
        "metrics": [
            _metric_document(each, level) for each in results.metrics if each.slice in keys
        ],
    }


def _told_slices(results: EvaluationResults) -> list[SliceResult]:
    """Returns all rows, and the slices with the most rows; the Parquet file has all of them."""
    first, *others = results.slices
    largest = sorted(others, key=lambda each: (-each.num_rows, each.slice_id))
    kept = largest[:_MAX_SLICES_IN_JSON]
    return [first, *sorted(kept, key=lambda each: each.slice_id)]


def _slice_document(of: SliceResult) -> dict[str, Any]:
    return {
        "id": of.slice_id,
        "slice": dict(of.key),
        "rows": of.num_rows,
        "is_scored": of.is_scored,
    }


def _metric_document(metric: MetricResult, level: float) -> dict[str, Any]:
    estimate = metric.estimate
    lower, upper = estimate.interval(level)
    return {
        "metric": metric.metric,
        "sub_key": metric.sub_key,
        "version": metric.version,
        "is_difference": metric.is_difference,
        "slice": dict(metric.slice),
        "rows": metric.num_rows,
        "value": _number(estimate.value),
        "ci": [_number(lower), _number(upper)],
        "ci_method": estimate.method.value,
        "approximation_bound": _number(estimate.certified_error),
    }


def _number(value: float) -> float | None:
    """Returns what JSON has a word for."""
    return value if math.isfinite(value) else None


def _parquet(results: EvaluationResults, level: float) -> bytes:
    """Returns the table as a file, with a row group for each metric."""
    sink = io.BytesIO()
    in_order = sorted(results.metrics, key=lambda each: each.metric)
    with pq.ParquetWriter(sink, _COLUMNS, compression="zstd") as writer:
        for _, group in itertools.groupby(in_order, key=lambda each: each.metric):
            writer.write_table(metrics_table(results, list(group), level))
    return sink.getvalue()


def _flags(metric: MetricResult) -> list[str]:
    found = []
    if math.isnan(metric.estimate.value):
        found.append("undefined")
    elif metric.estimate.certified_error > 0:
        found.append("approximate")
    return found

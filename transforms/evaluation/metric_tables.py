"""The numbers as files: `metrics.parquet`, a long table of all, and `metrics.json`, the main ones."""

import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms.evaluation.metric_columns import MetricColumns, Series, method_names
from transforms.evaluation.results import EvaluationResults, MetricResult, SliceResult
from transforms.metrics.array_types import Integers
from transforms.storage import read_bytes, write_bytes

METRICS_TABLE = "metrics.parquet"
METRICS_FILE = "metrics.json"
NO_FACTS: Mapping[str, Any] = MappingProxyType({})
_SCHEMA_NAME = "eval.metrics/1"
# What the Parquet file says of itself, so that `gate` need not work the metrics out again.
_SCHEMA_KEY, _SERIES_KEY = "schema", "series"
_STATES_KEY, _FORMULAS_KEY = "states_sha256", "formulas_sha256"
_NUMBERS = {
    "value": "value",
    "standard_error": "se",
    "degrees_of_freedom": "ci_df",
    "effective_rows": "n_eff",
    "lower_bound": "bound_lo",
    "upper_bound": "bound_hi",
}
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
        ("ci_df", pa.float64()),
        ("bound_lo", pa.float64()),
        ("bound_hi", pa.float64()),
        ("n", pa.int64()),
        ("n_eff", pa.float64()),
        ("flags", pa.list_(pa.string())),
    ]
)


def write_metrics(
    results: EvaluationResults,
    output: str,
    level: float,
    facts: Mapping[str, Any] = NO_FACTS,
    *,
    states_sha256: str = "",
    formulas_sha256: str = "",
) -> None:
    """Writes both files below `output`.

    Args:
        results: What was measured.
        output: Output directory.
        level: Of the intervals.
        facts: Where models and data come from, to be told as well.
        states_sha256: Digest of the states that the metrics are made of; see `read_metrics`.
        formulas_sha256: Digest of what made them; see `formula_digest`.
    """
    said = {
        _SCHEMA_KEY: _SCHEMA_NAME,
        _STATES_KEY: states_sha256,
        _FORMULAS_KEY: formulas_sha256,
        _SERIES_KEY: json.dumps(results.columns.series),
    }
    write_bytes(output, f"{output}/{METRICS_TABLE}", _parquet(results, level, said))
    document = {**metrics_document(results, level), "facts": dict(facts)}
    write_bytes(output, f"{output}/{METRICS_FILE}", _json(document).encode())


def _json(document: dict[str, Any]) -> str:
    """Returns a document with a line for each metric, for diffs and for people."""
    metrics = ",\n".join(json.dumps(each, sort_keys=True) for each in document.pop("metrics"))
    rest = json.dumps(document, indent=1, sort_keys=True).removesuffix("\n}")
    return f'{rest},\n "metrics": [\n{metrics}\n ]\n}}\n'


def metrics_table(results: EvaluationResults, level: float) -> Iterator[pa.Table]:
    """Yields the long table of each metric; `baseline` is null where nothing is compared."""
    columns = results.columns
    table = _table(results, columns, level)
    names, of_series = np.unique([each.metric for each in columns.series], return_inverse=True)
    of_rows = of_series[columns.series_ids]
    for place in range(len(names)):
        yield table.take(pa.array(np.flatnonzero(of_rows == place)))


def _table(results: EvaluationResults, metrics: MetricColumns, level: float) -> pa.Table:
    """Returns the table of all metrics, in their order."""
    ids = {each.key: each.slice_id for each in results.slices}
    baselines = [results.baseline if each.is_difference else None for each in metrics.series]
    lower, upper = metrics.intervals(level)
    numbers, many = metrics.numbers, len(metrics)

    def of_series(values: list[Any], kind: pa.DataType) -> pa.Array:
        return pa.array(values, kind).take(pa.array(metrics.series_ids))

    def of_slice(values: list[Any], kind: pa.DataType) -> pa.Array:
        return pa.array(values, kind).take(pa.array(metrics.slice_ids))

    text = pa.string()
    arrays = [
        pa.repeat(pa.scalar(results.model_name, text), many),
        of_series([each.version for each in metrics.series], pa.int64()),
        of_series(baselines, pa.int64()),
        of_slice([ids[each] for each in metrics.keys], pa.int64()),
        of_slice(list(metrics.keys), _COLUMNS.field("slice").type),
        of_series([each.metric for each in metrics.series], text),
        of_series([each.sub_key for each in metrics.series], text),
        pa.array(numbers["value"]),
        pa.array(numbers["standard_error"]),
        pa.array(lower),
        pa.array(upper),
        pa.repeat(pa.scalar(level, pa.float64()), many),
        pa.array(method_names(), text).take(pa.array(metrics.methods)),
        pa.array(numbers["degrees_of_freedom"]),
        pa.array(numbers["lower_bound"]),
        pa.array(numbers["upper_bound"]),
        pa.array(metrics.num_rows, pa.int64()),
        pa.array(numbers["effective_rows"]),
        _flags(metrics),
    ]
    return pa.Table.from_arrays(arrays, schema=_COLUMNS)


def metrics_document(results: EvaluationResults, level: float) -> dict[str, Any]:
    """Returns the metrics of all rows and of the largest slices, as JSON has them."""
    told = _told_slices(results)
    return {
        "schema": _SCHEMA_NAME,
        "model": results.model_name,
        "baseline": results.baseline,
        "candidates": list(results.candidates),
        "ci_level": level,
        "slices": [_slice_document(each) for each in told],
        "slices_left_out": len(results.slices) - len(told),
        "metrics": [
            _metric_document(metric, level)
            for each in told
            for metric in results.of_slice(each.key)
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


def read_metrics(
    directory: str, slices: Sequence[SliceResult], states_sha256: str, formulas_sha256: str
) -> MetricColumns | None:
    """Returns the metrics that were written of the same states, or None if there are none.

    Those that other formulas made, such as those of an older release, are none either.

    Args:
        directory: Where `write_metrics` wrote.
        slices: Of the states.
        states_sha256: Their digest.
        formulas_sha256: Digest of what makes metrics of states here and now.
    """
    content = read_bytes(f"{directory}/{METRICS_TABLE}")
    if content is None or not states_sha256:
        return None
    try:
        return _read(content, slices, (states_sha256, formulas_sha256))
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError):
        return None  # damaged; the states say the same


def _read(
    content: bytes, slices: Sequence[SliceResult], digests: tuple[str, str]
) -> MetricColumns | None:
    table = pq.read_table(io.BytesIO(content), page_checksum_verification=True)
    said = {key.decode(): text.decode() for key, text in (table.schema.metadata or {}).items()}
    if said.get(_SCHEMA_KEY) != _SCHEMA_NAME:
        return None
    if (said.get(_STATES_KEY), said.get(_FORMULAS_KEY)) != digests:
        return None
    series = tuple(Series(*each) for each in json.loads(said[_SERIES_KEY]))
    return _columns(table, series, slices)


def _columns(
    table: pa.Table, series: tuple[Series, ...], slices: Sequence[SliceResult]
) -> MetricColumns:
    series_ids = _series_ids(table, series)
    ids = np.array([each.slice_id for each in slices])
    slice_ids = np.searchsorted(ids, table["slice_id"].to_numpy())
    order = np.lexsort((series_ids, slice_ids))
    methods = pc.index_in(table["ci_method"], pa.array(method_names()))
    return MetricColumns.of_columns(
        series,
        tuple(each.key for each in slices),
        series_ids=series_ids[order],
        slice_ids=slice_ids[order],
        num_rows=table["n"].to_numpy()[order],
        methods=methods.to_numpy()[order],
        numbers={name: table[column].to_numpy()[order] for name, column in _NUMBERS.items()},
    )


def _series_ids(table: pa.Table, series: tuple[Series, ...]) -> Integers:
    """Returns for each row which of the series it belongs to."""
    texts = [table[name].combine_chunks().dictionary_encode() for name in ("metric", "sub_key")]
    coordinates = [
        *(each.indices.to_numpy() for each in texts),
        table["version"].to_numpy(),
        table["baseline"].is_valid().to_numpy(),
    ]
    codes = np.zeros(len(table), dtype=np.int64)
    for each in coordinates:
        distinct, places = np.unique(each, return_inverse=True)
        codes = codes * max(1, distinct.size) + places
    _, firsts, places = np.unique(codes, return_index=True, return_inverse=True)
    found = table.select(["metric", "sub_key", "version", "baseline"]).take(pa.array(firsts))
    numbers = {each: place for place, each in enumerate(series)}
    ids = [
        numbers[Series(row["metric"], row["sub_key"], row["version"], row["baseline"] is not None)]
        for row in found.to_pylist()
    ]
    return np.array(ids, dtype=np.int64)[places]


def _parquet(results: EvaluationResults, level: float, said: Mapping[str, str]) -> bytes:
    """Returns the table as a file, with a row group for each metric."""
    sink = io.BytesIO()
    schema = _COLUMNS.with_metadata(said)
    with pq.ParquetWriter(sink, schema, compression="zstd", write_page_checksum=True) as writer:
        for table in metrics_table(results, level):
            writer.write_table(table.replace_schema_metadata(said))
    return sink.getvalue()


def _flags(metrics: MetricColumns) -> pa.Array:
    """Returns for each metric what must be known to read it."""
    found = np.where(metrics.certified_errors() > 0, 2, 0)
    found[np.isnan(metrics.numbers["value"])] = 1
    flags = pa.array([[], ["undefined"], ["approximate"]], _COLUMNS.field("flags").type)
    return flags.take(pa.array(found))

"""Batching statistics as plain data: in receipts, added up in the manifest, and as counters."""

import functools
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any

from servable_core.batching import BatchingStatistics
from transforms.worker_sessions import SessionKey

_NOT_SUMMED = ("max_queue_secs", "shapes", "batch_size", "ceiling")
_SUMMED = tuple(each.name for each in fields(BatchingStatistics) if each.name not in _NOT_SUMMED)
_MAX_SHAPES = 64
_COUNTED = (
    "extra_runs",
    "failed_rows",
    "padding_rows",
    "padding_cells",
    "cells",
    "splits",
    "rejections",
)

Document = dict[str, dict[str, Any]]


def to_document(statistics: Mapping[SessionKey, Iterable[BatchingStatistics]]) -> Document:
    """Returns what a process's sessions have done, for each signature, as JSON takes it."""
    return {
        str(key): functools.reduce(_added, map(_session_document, of_one))
        for key, of_one in statistics.items()
    }


def _session_document(statistics: BatchingStatistics) -> dict[str, Any]:
    document: dict[str, Any] = {name: getattr(statistics, name) for name in _SUMMED}
    document["max_queue_secs"] = statistics.max_queue_secs
    document["ceiling"] = statistics.ceiling
    document["shapes"] = [
        [rows, length, each.num_runs, each.num_rows, each.run_secs]
        for (rows, length), each in statistics.shapes.items()
    ]
    found = statistics.batch_size
    document["batch_size"] = found and {
        "size": found.size,
        "is_frozen": found.is_frozen,
        "curve": [[size, round(rate)] for size, rate in sorted(found.curve.items())],
    }
    return document


def _added(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Returns the document of two sessions of one signature, which differ in what was asked."""
    busier = max(first, second, key=lambda each: int(each["num_rows"]))
    ceilings = [each["ceiling"] for each in (first, second) if each["ceiling"] is not None]
    return {
        **{name: first[name] + second[name] for name in _SUMMED},
        "max_queue_secs": max(first["max_queue_secs"], second["max_queue_secs"]),
        "ceiling": min(ceilings, default=None),
        "shapes": [*first["shapes"], *second["shapes"]],
        "batch_size": busier["batch_size"],
    }


def counters(statistics: Iterable[BatchingStatistics]) -> dict[str, int]:
    """Returns the totals of all sessions that tell whether batching goes well."""
    sessions = list(statistics)
    return {name: sum(getattr(each, f"num_{name}") for each in sessions) for name in _COUNTED}


class UnreportedCounters:
    """Tells each increment of growing counters once, whoever asks. Thread-safe."""

    def __init__(self, totals: Callable[[], Mapping[str, int]]) -> None:
        """Reads counters that start at 0 from `totals`, which must not block for long."""
        self._totals = totals
        self._lock = threading.Lock()
        self._told: Mapping[str, int] = {}  # Guarded by _lock.

    def take(self) -> dict[str, int]:
        """Returns what has come since the last call, of the counters that have grown."""
        with self._lock:  # around both, so that no older totals follow newer ones
            totals = self._totals()
            grown = {name: total - self._told.get(name, 0) for name, total in totals.items()}
            self._told = totals
        return {name: number for name, number in grown.items() if number}


def merge_workers(documents: Iterable[tuple[str, Document]]) -> Document:
    """Returns the statistics of a whole job, from what its units' receipts say.

    A receipt has the totals of its worker until then, so of each worker the highest count.

    Args:
        documents: For each receipt, which worker wrote it, and what that had done by then.
    """
    last: dict[tuple[str, str], dict[str, Any]] = {}
    for worker, document in documents:
        for name, session in document.items():
            known = last.get((worker, name))
            if known is None or known["num_batches"] <= session["num_batches"]:
                last[worker, name] = session
    names = dict.fromkeys(name for _, name in last)
    return {
        name: _merged([each for (_, own), each in last.items() if own == name]) for name in names
    }


def _merged(sessions: list[dict[str, Any]]) -> dict[str, Any]:
    total: dict[str, Any] = {name: sum(each[name] for each in sessions) for name in _SUMMED}
    total["max_queue_secs"] = max(each["max_queue_secs"] for each in sessions)
    ceilings = [each["ceiling"] for each in sessions if each["ceiling"] is not None]
    total["ceiling"] = min(ceilings, default=None)
    total["batch_size"] = [each["batch_size"] for each in sessions if each["batch_size"]]
    shapes = _merged_shapes(sessions)
    total["num_shapes"] = len(shapes)
    total["shapes"] = shapes[:_MAX_SHAPES]
    total["mean_batch_size"] = total["num_rows"] / max(1, total["num_batches"])
    total["fill"] = total["num_rows"] / max(1, total["num_slots"])
    total["padding_waste"] = total["num_padding_cells"] / max(1, total["num_cells"])
    return total


def _merged_shapes(sessions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the shapes that ran, the most frequent first."""
    found: dict[tuple[int, int], list[float]] = {}
    for session in sessions:
        for rows, length, *numbers in session["shapes"]:
            so_far = found.get((rows, length), [0.0] * len(numbers))
            found[rows, length] = [a + b for a, b in zip(so_far, numbers, strict=True)]
    in_order = sorted(found.items(), key=lambda item: (-item[1][0], item[0]))
    return [
        {
            "rows": rows,
            "length": length,
            "num_runs": int(runs),
            "num_rows": int(num_rows),
            "run_secs": round(run_secs, 6),
        }
        for (rows, length), (runs, num_rows, run_secs) in in_order
    ]

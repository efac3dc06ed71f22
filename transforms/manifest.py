"""What a job did, as `_manifest.json` tells it: added up from the receipts of its units."""

import json
from array import array
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from transforms.batching_report import merge_workers
from transforms.bottleneck import JobTimes, find_bottleneck
from transforms.plan import Plan
from transforms.receipts import Receipt
from transforms.stage_times import added_up


@dataclass(frozen=True, kw_only=True, slots=True)
class Timings:
    """When the job's units ran.

    Attributes:
        first_unit_start_secs: Unix seconds.
        last_unit_end_secs: Unix seconds.
        steady_secs: Time in which at least one unit ran: without imports, planning and model load,
            and without the gap between a job that was killed and its resumption.
    """

    first_unit_start_secs: float
    last_unit_end_secs: float
    steady_secs: float


class _Worker:
    """What the units of one worker process tell of it."""

    def __init__(self, num_batch_threads: int) -> None:
        self.num_batch_threads = num_batch_threads
        self.start_secs, self.end_secs = array("d"), array("d")
        self.batching: dict[str, dict[str, Any]] = {}

    def add(self, receipt: Receipt) -> None:
        """Adds a unit; of the statistics, which only grow, the latest stay."""
        self.start_secs.append(receipt.started_secs)
        self.end_secs.append(receipt.ended_secs)
        if _num_batches(receipt.batching) >= _num_batches(self.batching):
            self.batching = receipt.batching

    @property
    def unit_secs(self) -> np.ndarray:
        """Returns how long each unit took."""
        return np.asarray(self.end_secs) - np.asarray(self.start_secs)


class _Lineage:
    """Distinct values, in the order in which units that tell of them began."""

    def __init__(self) -> None:
        self._first_secs: dict[str, float] = {}  # by the value as JSON

    def add(self, value: object, started_secs: float) -> None:
        """Adds a value, unless it says nothing."""
        if value:
            text = json.dumps(value, sort_keys=True)
            self._first_secs[text] = min(started_secs, self._first_secs.get(text, started_secs))

    def values(self) -> list[Any]:
        """Returns each value once."""
        return [
            json.loads(text) for text in sorted(self._first_secs, key=self._first_secs.__getitem__)
        ]


class JobTally:
    """What the receipts of a job add up to. Keeps none of them: a million cost some 20 MB.

    Attributes:
        rows: Input rows.
        rows_failed: For each model of the plan, the records that lack its outputs.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._counts: Counter[str] = Counter()
        self._dead_letters: Counter[str] = Counter()
        self._rows_of: Counter[tuple[str, int]] = Counter()
        self._rows_reused = [0] * len(plan.models)
        self._stage_secs: Counter[str] = Counter()
        self._model_loads: dict[str, dict[str, float]] = {}
        self._workers: dict[str, _Worker] = {}
        self._commands, self._packages = _Lineage(), _Lineage()
        self._peak_rss_bytes = 0
        self.rows = 0
        self.rows_failed = [0] * len(plan.models)

    def add(self, receipt: Receipt) -> None:
        """Adds a unit."""
        self.rows += receipt.rows_read
        self._add_models(receipt)
        self._dead_letters.update(receipt.dead_letters)
        self._stage_secs.update(receipt.stage_secs)
        self._counts["units"] += 1
        self._counts["retries"] += receipt.num_retries
        self._counts["batches"] += receipt.num_batches
        self._peak_rss_bytes = max(self._peak_rss_bytes, receipt.peak_rss_bytes)
        self._commands.add(receipt.command_line, receipt.started_secs)
        self._packages.add(receipt.packages, receipt.started_secs)
        worker = self._workers.setdefault(receipt.worker, _Worker(receipt.num_batch_threads))
        worker.add(receipt)

    def _add_models(self, receipt: Receipt) -> None:
        for each in receipt.files:
            self._rows_of[each.model_name, each.model_version] += each.rows
            self._counts["files"] += 1
            self._counts["bytes_written"] += each.size_bytes
        for total, added in (
            (self.rows_failed, receipt.rows_failed),
            (self._rows_reused, receipt.rows_reused),
        ):
            for index, rows in enumerate(added):  # none in receipts of older versions
                total[index] += rows
        for model, secs in receipt.model_loads.items():
            known = self._model_loads.get(model, secs)
            self._model_loads[model] = max(known, secs, key=lambda each: sum(each.values()))

    def manifest(self) -> dict[str, Any]:
        """Returns the manifest of a job that has at least one receipt."""
        workers = self._workers.items()
        batching = merge_workers((name, each.batching) for name, each in workers)
        when = self._timings()
        stage_secs = added_up([self._stage_secs, _model_secs(batching)])
        bottleneck = find_bottleneck(self._job_times(stage_secs, when))
        return {
            "plan_id": self._plan.plan_id,
            "rows": self.rows,
            "rows_per_sec": round(self.rows / max(when.steady_secs, 1e-6), 1),
            "units": self._counts["units"],
            "files": self._counts["files"],
            "bytes_read": self._plan.size_bytes,
            "bytes_written": self._counts["bytes_written"],
            "dead_letters": dict(self._dead_letters),
            "retries": self._counts["retries"],
            "batches": self._counts["batches"],
            "batching": batching,
            "peak_rss_bytes": self._peak_rss_bytes,
            "models": self._models(),
            "model_loads": self._model_loads,
            "timings": asdict(when),
            "stage_secs": stage_secs,
            "bottleneck": bottleneck and asdict(bottleneck),
            "lineage": {
                "command_lines": self._commands.values(),
                "packages": self._packages.values(),
            },
        }

    def _models(self) -> list[dict[str, Any]]:
        return [
            {
                **asdict(model),
                "rows": self._rows_of[model.name, model.version],
                "rows_reused": reused,
            }
            for model, reused in zip(self._plan.models, self._rows_reused, strict=True)
        ]

    def _timings(self) -> Timings:
        starts, ends = (
            np.concatenate([getattr(each, name) for each in self._workers.values()])
            for name in ("start_secs", "end_secs")
        )
        return Timings(
            first_unit_start_secs=float(starts.min()),
            last_unit_end_secs=float(ends.max()),
            steady_secs=_covered_secs(starts, ends),
        )

    def _job_times(self, stage_secs: dict[str, float], when: Timings) -> JobTimes:
        workers = self._workers.values()
        return JobTimes(
            stage_secs=stage_secs,
            unit_secs=sum(float(each.unit_secs.sum()) for each in workers),
            steady_secs=when.steady_secs,
            batch_thread_secs=sum(
                each.num_batch_threads
                * _covered_secs(np.asarray(each.start_secs), np.asarray(each.end_secs))
                for each in workers
            ),
            num_units=self._counts["units"],
        )


def _num_batches(batching: dict[str, dict[str, Any]]) -> int:
    return sum(int(each["num_batches"]) for each in batching.values())


def _model_secs(batching: dict[str, dict[str, Any]]) -> dict[str, float]:
    sessions = batching.values()
    return {name: sum(each[f"{name}_secs"] for each in sessions) for name in ("queue", "run")}


def _covered_secs(starts: np.ndarray, ends: np.ndarray) -> float:
    """Returns the length of the union of spans."""
    order = np.argsort(starts, kind="stable")
    starts, ends = starts[order], ends[order]
    covered_until = np.concatenate([starts[:1], np.maximum.accumulate(ends)[:-1]])
    return round(float(np.maximum(0.0, ends - np.maximum(starts, covered_until)).sum()), 6)

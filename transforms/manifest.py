"""What a job did, as `_manifest.json` tells it: added up from the receipts of its units."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from transforms.batching_report import merge_workers
from transforms.bottleneck import JobTimes, find_bottleneck
from transforms.plan import Plan
from transforms.receipts import OutputFile, Receipt
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


def create_manifest(plan: Plan, receipts: Sequence[Receipt]) -> dict[str, Any]:
    """Returns the manifest of a job that has at least one receipt."""
    files = [each for receipt in receipts for each in receipt.files]
    rows = sum(receipt.rows_read for receipt in receipts)
    batching = merge_workers((each.worker, each.batching) for each in receipts)
    when = timings(receipts)
    stage_secs = added_up([*(each.stage_secs for each in receipts), _model_secs(batching)])
    bottleneck = find_bottleneck(_job_times(receipts, stage_secs, when))
    return {
        "plan_id": plan.plan_id,
        "rows": rows,
        "rows_per_sec": round(rows / max(when.steady_secs, 1e-6), 1),
        "units": len(receipts),
        "files": len(files),
        "bytes_read": plan.size_bytes,
        "bytes_written": sum(each.size_bytes for each in files),
        "dead_letters": dict(sum((Counter(each.dead_letters) for each in receipts), Counter())),
        "retries": sum(receipt.num_retries for receipt in receipts),
        "batches": sum(receipt.num_batches for receipt in receipts),
        "batching": batching,
        "peak_rss_bytes": max(receipt.peak_rss_bytes for receipt in receipts),
        "models": [
            {
                **asdict(model),
                "rows": _rows_of(model.name, model.version, files),
                "rows_reused": sum(
                    receipt.rows_reused[index] for receipt in receipts if receipt.rows_reused
                ),
            }
            for index, model in enumerate(plan.models)
        ],
        "model_loads": _longest_loads(receipts),
        "timings": asdict(when),
        "stage_secs": stage_secs,
        "bottleneck": bottleneck and asdict(bottleneck),
        "lineage": {
            "command_lines": _distinct(each.command_line for each in _in_time(receipts)),
            "packages": _distinct(each.packages for each in _in_time(receipts)),
        },
    }


def _rows_of(name: str, version: int, files: Sequence[OutputFile]) -> int:
    return sum(
        each.rows for each in files if (each.model_name, each.model_version) == (name, version)
    )


def _in_time(receipts: Sequence[Receipt]) -> list[Receipt]:
    return sorted(receipts, key=lambda each: each.started_secs)


def _distinct(values: Iterable[Any]) -> list[Any]:
    """Returns the values that say something, each once, in order; dictionaries cannot be hashed."""
    found: list[Any] = []
    for each in values:
        if each and each not in found:
            found.append(each)
    return found


def _longest_loads(receipts: Sequence[Receipt]) -> dict[str, dict[str, float]]:
    """Returns what each model took to load, in the worker where it took longest."""
    longest: dict[str, dict[str, float]] = {}
    for receipt in receipts:
        for model, secs in receipt.model_loads.items():
            longest[model] = max(
                longest.get(model, secs), secs, key=lambda each: sum(each.values())
            )
    return longest


def _model_secs(batching: dict[str, dict[str, Any]]) -> dict[str, float]:
    sessions = batching.values()
    return {name: sum(each[f"{name}_secs"] for each in sessions) for name in ("queue", "run")}


def _job_times(
    receipts: Sequence[Receipt], stage_secs: dict[str, float], when: Timings
) -> JobTimes:
    workers: dict[str, list[Receipt]] = {}
    for each in receipts:
        workers.setdefault(each.worker, []).append(each)
    return JobTimes(
        stage_secs=stage_secs,
        unit_secs=sum(each.ended_secs - each.started_secs for each in receipts),
        steady_secs=when.steady_secs,
        batch_thread_secs=sum(
            own[0].num_batch_threads * timings(own).steady_secs for own in workers.values()
        ),
        num_units=len(receipts),
    )


def timings(receipts: Sequence[Receipt]) -> Timings:
    """Returns when the units ran; there is at least one."""
    spans = sorted((receipt.started_secs, receipt.ended_secs) for receipt in receipts)
    steady_secs, covered_until = 0.0, spans[0][0]
    for start, end in spans:
        steady_secs += max(0.0, end - max(start, covered_until))
        covered_until = max(covered_until, end)
    return Timings(
        first_unit_start_secs=spans[0][0],
        last_unit_end_secs=covered_until,
        steady_secs=round(steady_secs, 6),
    )

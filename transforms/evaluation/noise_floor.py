"""How far two runs of one version differ, for batches of other rows are computed otherwise.

Differences between versions that are no larger say nothing about the versions.
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from servable_core.errors import FailedPreconditionError
from servable_core.runtime.clock import Clock
from transforms.evaluation.evaluation_rows import EvaluationRows
from transforms.evaluation.model_rows import model_rows
from transforms.evaluation.predicted_rows import PredictedRows
from transforms.evaluation.unit_source import Measured
from transforms.execution import ExecutionOptions
from transforms.job_state import JobState
from transforms.metrics import Task
from transforms.metrics.array_types import Booleans, Floats
from transforms.plan import Plan
from transforms.process_unit import start_attempt
from transforms.unit_cutting import limit_rows
from transforms.unit_job import create_unit_job
from transforms.unit_table import Unit
from transforms.worker_core import acquired_core, worker_core_config

MAX_ROWS = 20_000
# One that kernels are made for, and one that leaves odd rests everywhere.
BATCH_SIZES = (256, 61)


@dataclass(frozen=True, kw_only=True, slots=True)
class NoiseFloor:
    """How far two runs of the baseline differ.

    Attributes:
        rows: Rows that were run twice.
        max_difference: The largest absolute difference of a score.
        flip_rate: Share of the rows that are decided otherwise, at any of the thresholds.
        batch_sizes: Of the two runs.
    """

    rows: int
    max_difference: float
    flip_rate: float
    batch_sizes: tuple[int, int] = BATCH_SIZES


def noise_floor(
    plan: Plan, measured: Measured, execution: ExecutionOptions, clock: Clock
) -> NoiseFloor:
    """Runs the baseline twice over the first rows, on this machine.

    Args:
        plan: Whose first model is the baseline.
        measured: What is measured of it.
        execution: Limits.
        clock: For the work.

    Raises:
        FailedPreconditionError: A row failed in one of the runs.
    """
    first, second = (_run(plan, size, measured, execution, clock) for size in BATCH_SIZES)
    if first.columns.num_rows != second.columns.num_rows:
        raise FailedPreconditionError("--aa: rows failed in one run of the baseline")
    version = measured.setup.versions[0]
    setup = replace(measured.setup, versions=(version, version))
    rows = EvaluationRows(setup.options(), measured.columns, measured.catalog)
    batch = rows.batch(first.columns, (*first.outputs, *second.outputs))
    return _compared(batch.predictions.astype(np.float64), setup.task, setup.thresholds)


def _compared(scores: Floats, task: Task, thresholds: tuple[float, ...]) -> NoiseFloor:
    differences = np.abs(scores[1] - scores[0]).reshape(scores.shape[1], -1)
    is_known = ~np.isnan(differences).any(axis=1)
    num_rows = int(is_known.sum())
    flips = _flips(scores, task, thresholds) & is_known
    return NoiseFloor(
        rows=num_rows,
        max_difference=float(differences[is_known].max(initial=0.0)),
        flip_rate=float(flips.sum() / max(num_rows, 1)),
    )


def _flips(scores: Floats, task: Task, thresholds: tuple[float, ...]) -> Booleans:
    if task is Task.BINARY:
        decided = scores[:, :, None] >= np.array(thresholds)
        flips: Booleans = (decided[0] != decided[1]).any(axis=1)
        return flips
    if task is Task.MULTICLASS:
        best = np.nan_to_num(scores, nan=-1.0).argmax(axis=2)
        return best[0] != best[1]
    return np.zeros(scores.shape[1], dtype=bool)


def _run(
    plan: Plan, batch_size: int, measured: Measured, execution: ExecutionOptions, clock: Clock
) -> PredictedRows:
    content = replace(plan.content, deterministic_batch_size=batch_size, dedupe=False)
    alone = replace(plan, models=plan.models[:1], content=content)
    batches: list[PredictedRows] = []
    with acquired_core(worker_core_config(alone, execution)) as core:
        job = create_unit_job(
            alone,
            "",
            execution,
            core=core,
            state=JobState(stops_siblings=True),
            clock=clock,
        )
        for unit in _first_units(plan):
            with closing(model_rows(unit, job, start_attempt(unit, job))) as rows:
                batches += [each for each in _first(rows, MAX_ROWS) if None not in each.outputs]
    if not batches:
        raise FailedPreconditionError(
            "--aa: the baseline failed at all of the first rows, so two runs cannot be compared"
        )
    return PredictedRows(
        columns=pa.concat_batches([each.columns.select(measured.needed) for each in batches]),
        outputs=(pa.concat_batches([each.outputs[0] for each in batches]),),
    )


def _first_units(plan: Plan) -> Iterator[Unit]:
    """Yields the first unit, cut to the rows that are wanted where they are known."""
    unit = plan.units[0]
    is_known = all(each.num_rows != -1 for each in unit.ranges) and plan.content.sample is None
    ranges = tuple(limit_rows(unit.ranges, MAX_ROWS)) if is_known else unit.ranges
    yield Unit(index=unit.index, ranges=ranges)


def _first(rows: Iterator[PredictedRows], num_rows: int) -> Iterator[PredictedRows]:
    left = num_rows
    for each in rows:
        if left <= 0:
            return
        kept = min(left, each.columns.num_rows)
        left -= kept
        yield PredictedRows(
            columns=each.columns.slice(0, kept),
            outputs=tuple(None if one is None else one.slice(0, kept) for one in each.outputs),
        )

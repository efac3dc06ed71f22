"""The precompute pipeline: thin Beam shells over planning, `process_unit` and `finalize`.

Impulse -> pending unit numbers -> Reshuffle -> process each unit -> count -> finalize.
Nothing but unit numbers and counts crosses a stage boundary: both are integers, and their coders say so.
"""

import itertools
import logging
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import apache_beam as beam
from apache_beam.coders import VarIntCoder
from apache_beam.metrics import Metrics
from apache_beam.pvalue import PBegin, PCollection

from servable_core.errors import AbortedError, FailedPreconditionError
from servable_core.runtime.clock import SystemClock
from servable_core.runtime.retry import RetryOptions, retry
from transforms.execution import ExecutionOptions
from transforms.failure_budget import FailureBudget, TooManyFailuresError
from transforms.failures import (
    UnitFailedError,
    describe_failure,
    is_transient,
    read_first_failure,
    record_failure,
)
from transforms.finalize import finalize
from transforms.job_state import job_state
from transforms.output_errors import OutputError
from transforms.plan import Plan
from transforms.plan_files import shared_plan
from transforms.process_unit import process_unit
from transforms.receipt_reader import ReceiptReader
from transforms.receipts import Receipt
from transforms.unit_job import UnitJob, create_unit_job
from transforms.unit_table import Unit
from transforms.worker_core import acquired_core, worker_core_config

METRICS_NAMESPACE = "precompute"

_logger = logging.getLogger(__name__)
_logger.setLevel(logging.WARNING)  # the command line shows errors only, and this


@dataclass(eq=False, kw_only=True)
class PrecomputeUnits(beam.PTransform):
    """Runs all pending units of the plan in `output`, then the last stage.

    Attributes:
        output: Output directory with a plan.
        execution: Limits of one worker.
        stops_siblings: Whether a failed unit stops the workers in other processes. Only where the
            launcher clears old failures first and no runner tries a unit again.
        command_line: The command that the job was started with, for the receipts.
    """

    output: str
    execution: ExecutionOptions
    stops_siblings: bool = False
    command_line: str = ""

    def expand(self, pbegin: PBegin) -> PCollection[int]:
        """Returns the number of units done in this run, once they are all committed."""
        return (
            pbegin
            | "Start" >> beam.Impulse()
            | "ListPendingUnits" >> beam.ParDo(_ListPendingUnitsFn(output=self.output))
            | "SpreadUnits" >> beam.Reshuffle()
            | "ProcessUnits"
            >> beam.ParDo(
                _ProcessUnitFn(
                    output=self.output,
                    execution=self.execution,
                    stops_siblings=self.stops_siblings,
                    command_line=self.command_line,
                )
            )
            | "CountUnits" >> beam.CombineGlobally(_CountUnits())
            | "Finalize"
            >> beam.ParDo(_FinalizeFn(output=self.output, budget=self.execution.failure_budget))
        )


def _require_plan(output: str) -> Plan:
    plan = shared_plan(output)
    if plan is None:
        raise FailedPreconditionError(f"{output} has no plan: it was deleted while the job ran")
    return plan


@dataclass(eq=False, kw_only=True)
class _ListPendingUnitsFn(beam.DoFn):
    """Emits the numbers of the units that have no valid receipt."""

    output: str

    def process(self, _element: bytes) -> Iterator[int]:
        plan = _require_plan(self.output)
        reader = job_state(self.output).receipts
        if reader is None or reader.plan.plan_id != plan.plan_id:
            reader = ReceiptReader(plan, self.output)
        reader.refresh()
        yield from reader.pending()


@dataclass(eq=False, kw_only=True)
class _ProcessUnitFn(beam.DoFn):
    """Processes one unit per element. Its models live in the process's worker core."""

    output: str
    execution: ExecutionOptions
    stops_siblings: bool
    command_line: str = ""
    _job: UnitJob | None = field(default=None, init=False, repr=False)
    _resources: ExitStack = field(default_factory=ExitStack, init=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        names = ("output", "execution", "stops_siblings", "command_line")
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]  # a fresh instance, on a worker

    def setup(self) -> None:
        plan = _require_plan(self.output)
        core = self._resources.enter_context(
            acquired_core(worker_core_config(plan, self.execution))
        )
        self._job = create_unit_job(
            plan,
            self.output,
            self.execution,
            core=core,
            state=job_state(self.output),
            clock=SystemClock(),
            command_line=self.command_line,
        )

    def process(self, unit_index: int) -> Iterator[int]:
        if self._job is None:
            raise FailedPreconditionError("process was called before setup")
        if self.stops_siblings:
            stop_after_failure(self._job)
        receipt = run_unit(unit_index, self._job)
        if receipt is not None:
            _count(receipt, self._job)
        yield unit_index

    def teardown(self) -> None:
        self._job = None
        self._resources.close()


def _count(receipt: Receipt, job: UnitJob) -> None:
    """Adds a unit to the runner's metrics, with what batching did in this process since the last."""
    counts = {"units": 1, "rows": receipt.rows_read, "batches": receipt.num_batches}
    for name, number in {**counts, **job.core.counters.take()}.items():
        Metrics.counter(METRICS_NAMESPACE, name).inc(number)


def stop_after_failure(job: UnitJob) -> None:
    """Stops the units of this process if one has failed in another process.

    Raises:
        AbortedError: One has.
    """
    failure = read_first_failure(job.output)
    if failure is not None:
        job.state.abort.set(failure)
        job.state.abort.check()


def run_unit(unit_index: int, job: UnitJob) -> Receipt | None:
    """Processes a unit, retrying what may pass; a failure stops all siblings in this process.

    Returns:
        Its receipt; None if it failed in a job that puts aside what fails.

    Raises:
        UnitFailedError: It failed for good; the message names unit, input and cause.
        AbortedError: The job was stopped from outside.
    """
    unit = job.plan.units[unit_index]
    num_retries = itertools.count()
    with job.state.active_unit():
        job.state.abort.check()
        try:
            return retry(
                lambda: process_unit(unit, job, next(num_retries)),
                is_transient=is_transient,
                options=RetryOptions(max_num_retries=job.execution.max_unit_retries),
                abort=job.state.abort,
                on_retry=partial(_log_retry, unit),
            )
        except AbortedError:
            raise
        except Exception as error:
            if job.state.abort.is_set:
                raise AbortedError(job.state.abort.reason) from error
            message = describe_failure(unit, job.plan, error)
            stops_job = not _is_put_aside(job.plan, error)
            record_failure(job.output, unit, message, error, stops_job=stops_job)
            if stops_job:
                job.state.fail(message)
                raise UnitFailedError(message) from error
            _logger.warning("%s; the other units go on", message)
            return None


def _is_put_aside(plan: Plan, error: Exception) -> bool:
    """Whether a unit may fail without the job: it is listed as failed, and tried again on resume."""
    ends_job = isinstance(error, (TooManyFailuresError, OutputError))
    return plan.content.keeps_bad_records and not ends_job


def _log_retry(unit: Unit, error: Exception, secs: float) -> None:
    _logger.warning("unit %d: %s; trying again in %.1f s", unit.index, error, secs)


@beam.typehints.with_input_types(int)
@beam.typehints.with_output_types(int)
class _CountUnits(beam.CombineFn):
    """Counts; its accumulators are integers, and coded as such."""

    def create_accumulator(self) -> int:
        return 0

    def add_input(self, accumulator: int, _element: int) -> int:
        return accumulator + 1

    def merge_accumulators(self, accumulators: Iterable[int]) -> int:
        return sum(accumulators)

    def extract_output(self, accumulator: int) -> int:
        return accumulator

    def get_accumulator_coder(self) -> VarIntCoder:
        return VarIntCoder()


@dataclass(eq=False, kw_only=True)
class _FinalizeFn(beam.DoFn):
    """Recounts everything and writes manifest and `_SUCCESS`."""

    output: str
    budget: FailureBudget

    def process(self, num_units: int) -> Iterator[int]:
        abort = job_state(self.output).abort
        finalize(_require_plan(self.output), self.output, self.budget, abort.check)
        yield num_units

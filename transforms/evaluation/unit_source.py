"""Where the states of the rows come from, unit by unit: models, or saved predictions."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from servable_core.errors import FailedPreconditionError
from servable_core.runtime.clock import SystemClock
from transforms.evaluation.evaluate_unit import RowMeasure, evaluate_unit
from transforms.evaluation.evaluation_rows import EvaluationColumns, EvaluationRows
from transforms.evaluation.evaluation_setup import EvaluationSetup
from transforms.evaluation.predicted_rows import PredictedRows
from transforms.evaluation.saved_predictions import SavedPredictions, read_saved
from transforms.evaluation.slice_catalog import SliceCatalog
from transforms.execution import ExecutionOptions
from transforms.job_state import JobState
from transforms.metrics import States
from transforms.plan import Plan
from transforms.plan_files import shared_plan
from transforms.unit_job import create_unit_job
from transforms.worker_core import acquired_core, worker_core_config

MeasureUnit = Callable[[int], States]


class UnitSource(Protocol):
    """Where the states of units come from; each worker gets a copy."""

    @property
    def num_units(self) -> int:
        """How many units there are."""

    def opened(self, state: JobState) -> AbstractContextManager[MeasureUnit]:
        """Holds what a worker needs; the body measures units by their numbers.

        Args:
            state: Gets the progress, and stops the work.
        """

    def describe(self, unit_index: int) -> str:
        """Returns what a unit is, for people."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What is measured of which columns.

    Attributes:
        setup: What is measured.
        columns: Which columns say what.
        needed: The columns of the data that are needed.
        catalog: The slices.
    """

    setup: EvaluationSetup
    columns: EvaluationColumns
    needed: tuple[str, ...]
    catalog: SliceCatalog

    def row_measure(self) -> RowMeasure:
        """Returns what makes states of rows."""
        rows = EvaluationRows(self.setup.options(), self.columns, self.catalog)
        return RowMeasure(setup=self.setup, rows=rows, columns=self.needed)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelUnits:
    """Units of a plan, whose models predict.

    Attributes:
        measured: What is measured.
        directory: Where the plan is.
        output: Where records that fail are put aside.
        num_units: Of the plan.
        execution: Limits of one worker.
    """

    measured: Measured
    directory: str
    output: str
    num_units: int
    execution: ExecutionOptions

    @contextmanager
    def opened(self, state: JobState) -> Iterator[MeasureUnit]:
        """Holds the models; see `UnitSource`."""
        plan = self._plan()
        with acquired_core(worker_core_config(plan, self.execution)) as core:
            job = create_unit_job(
                plan,
                self.output,
                self.execution,
                core=core,
                state=state,
                clock=SystemClock(),
            )
            measure = self.measured.row_measure()
            yield lambda index: evaluate_unit(plan.units[index], job, measure)

    def describe(self, unit_index: int) -> str:
        """Returns its number and its first file."""
        plan = self._plan()
        path = plan.inputs[plan.units[unit_index].ranges[0].file_index].path
        return f"unit {unit_index} of {self.num_units} ({path})"

    def _plan(self) -> Plan:
        plan = shared_plan(self.directory)
        if plan is None:
            raise FailedPreconditionError(
                f"{self.directory} has no plan: it was deleted while the job ran"
            )
        return plan


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedUnits:
    """Files of saved predictions.

    Attributes:
        measured: What is measured.
        saved: The predictions.
        outputs: Columns of predictions that are needed.
    """

    measured: Measured
    saved: SavedPredictions
    outputs: tuple[str, ...]

    @property
    def num_units(self) -> int:
        """The baseline's files."""
        return len(self.saved.units)

    @contextmanager
    def opened(self, state: JobState) -> Iterator[MeasureUnit]:
        """Holds nothing; see `UnitSource`."""
        measure = self.measured.row_measure()
        evaluation, unmatched = measure.evaluation, self.measured.setup.unmatched_rows

        def measure_unit(index: int) -> States:
            rows = _Rows(state)
            try:
                states = measure.measure(rows.counted(self._read(index)))
            except BaseException:
                rows.take_back()
                raise
            return evaluation.add(states, unmatched.of_found(rows.num_found))

        yield measure_unit

    def describe(self, unit_index: int) -> str:
        """Returns the file."""
        path = self.saved.baseline.parts[unit_index].path
        return f"file {unit_index} of {self.num_units} ({path})"

    def _read(self, unit_index: int) -> Iterator[PredictedRows]:
        return read_saved(unit_index, self.saved, self.measured.needed, self.outputs)


class _Rows:
    """Counts the rows of an attempt at a unit in the progress; those of one that failed not."""

    def __init__(self, state: JobState) -> None:
        self._state = state
        self._num_rows = 0
        self._num_found: tuple[int, ...] = ()

    @property
    def num_found(self) -> tuple[int, ...]:
        """For each version its rows that were found."""
        return self._num_found

    def counted(self, rows: Iterator[PredictedRows]) -> Iterator[PredictedRows]:
        """Yields `rows` while the job goes on."""
        for each in rows:
            self._state.abort.check()
            yield each
            self._num_rows += each.columns.num_rows
            self._state.add_rows(each.columns.num_rows)
            before = self._num_found or (0,) * len(each.num_found)
            self._num_found = tuple(map(sum, zip(before, each.num_found, strict=True)))

    def take_back(self) -> None:
        """Takes the rows out of the progress again."""
        self._state.add_rows(-self._num_rows)

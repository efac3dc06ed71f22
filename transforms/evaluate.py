"""The evaluation pipeline: thin Beam shells over the units' states, their merge, and their files.

Impulse -> unit numbers -> Reshuffle -> measure each unit -> merge states -> write states.
States of thousands of slices take a gigabyte. So they cross stages as files in the directory that
the workers share, and what is combined are the places of these. What they mean is told outside of
Beam.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import apache_beam as beam
from apache_beam.pvalue import PBegin, PCollection
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from servable_core.errors import AbortedError, FailedPreconditionError, ServableCoreError
from servable_core.runtime.retry import RetryOptions, retry
from transforms.evaluation.evaluation_setup import EvaluationSetup
from transforms.evaluation.spilled_states import SpilledStates, SpillingAccumulator, spill
from transforms.evaluation.state_files import SavedEvaluation, write_states
from transforms.evaluation.unit_source import MeasureUnit, UnitSource
from transforms.failures import (
    UnitFailedError,
    is_transient,
    read_first_failure,
    record_failure,
)
from transforms.job_state import JobState, job_state
from transforms.metrics import Evaluation, States, create_evaluation
from transforms.unit_table import Unit

_logger = logging.getLogger(__name__)
_logger.setLevel(logging.WARNING)  # the command line shows errors only, and this


@dataclass(eq=False, kw_only=True)
class EvaluateUnits(beam.PTransform):
    """Measures all units, and writes their states.

    Attributes:
        saved: What is measured; without states yet.
        source: The units.
        output: Where states go to.
        scratch: Directory that the workers of this job share, and that goes with it.
        max_unit_retries: Further attempts at a unit after an error that may pass.
        stops_siblings: Whether a failed unit stops the workers in other processes.
    """

    saved: SavedEvaluation
    source: UnitSource
    output: str
    scratch: str
    max_unit_retries: int
    stops_siblings: bool = False

    def expand(self, pbegin: PBegin) -> PCollection[int]:
        """Returns one number, 1, once the states are written."""
        measured = self.saved.setup
        return (
            pbegin
            | "Start" >> beam.Impulse()
            | "ListUnits" >> beam.ParDo(_ListUnitsFn(num_units=self.source.num_units))
            | "SpreadUnits" >> beam.Reshuffle()
            | "MeasureUnits"
            >> beam.ParDo(
                _MeasureUnitFn(
                    source=self.source,
                    measured=measured,
                    scratch=self.scratch,
                    max_unit_retries=self.max_unit_retries,
                    stops_siblings=self.stops_siblings,
                )
            )
            | "MergeStates" >> beam.CombineGlobally(MergeStates(measured, self.scratch))
            | "WriteStates" >> beam.ParDo(_WriteStatesFn(saved=self.saved, output=self.output))
        )


@dataclass(eq=False, kw_only=True)
class _ListUnitsFn(beam.DoFn):
    """Emits the numbers of the units."""

    num_units: int

    def process(self, _element: bytes) -> Iterator[int]:
        yield from range(self.num_units)


@dataclass(eq=False, kw_only=True)
class _MeasureUnitFn(beam.DoFn):
    """Measures one unit per element, and yields for each bundle where its states are.

    Its models live in the process's worker core.
    """

    source: UnitSource
    measured: EvaluationSetup
    scratch: str
    max_unit_retries: int
    stops_siblings: bool
    _resources: ExitStack = field(default_factory=ExitStack, init=False, repr=False)
    _measure: MeasureUnit | None = field(default=None, init=False, repr=False)
    _evaluation: Evaluation | None = field(default=None, init=False, repr=False)
    _states: SpillingAccumulator | None = field(default=None, init=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        names = ("source", "measured", "scratch", "max_unit_retries", "stops_siblings")
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]  # a fresh instance, on a worker

    def setup(self) -> None:
        self._evaluation = create_evaluation(self.measured.options())
        self._measure = self._resources.enter_context(self.source.opened(job_state(self.scratch)))

    def start_bundle(self) -> None:
        if self._evaluation is None:
            raise FailedPreconditionError("start_bundle was called before setup")
        self._states = SpillingAccumulator(self._evaluation, self.scratch)

    def process(self, unit_index: int) -> None:
        if self._measure is None or self._states is None:
            raise FailedPreconditionError("process was called before setup and start_bundle")
        if self.stops_siblings:
            self._stop_after_failure()
        with self._active() as state:
            self._states.add(self._run(unit_index, self._measure, state))

    def finish_bundle(self) -> Iterator[WindowedValue]:
        states, self._states = self._states, None
        with self._active():
            places = [] if states is None else states.finish()
        for place in places:
            yield GlobalWindows.windowed_value(place)

    def teardown(self) -> None:
        self._measure = None
        self._resources.close()

    def _stop_after_failure(self) -> None:
        failure = read_first_failure(self.scratch)
        if failure is not None:
            abort = job_state(self.scratch).abort
            abort.set(failure)
            abort.check()

    @contextmanager
    def _active(self) -> Iterator[JobState]:
        """Has the launcher wait for the body before it deletes the scratch directory."""
        state = job_state(self.scratch)
        with state.active_unit():
            state.abort.check()
            yield state

    def _run(self, unit_index: int, measure: MeasureUnit, state: JobState) -> States:
        """Measures a unit, retrying what may pass; a failure stops all siblings."""
        try:
            return retry(
                lambda: measure(unit_index),
                is_transient=is_transient,
                options=RetryOptions(max_num_retries=self.max_unit_retries),
                abort=state.abort,
                on_retry=partial(_log_retry, unit_index),
            )
        except AbortedError:
            raise
        except Exception as error:
            if state.abort.is_set:
                raise AbortedError(state.abort.reason) from error
            message = f"{self.source.describe(unit_index)} failed: {_cause(error)}"
            unit = Unit(index=unit_index, ranges=())
            record_failure(self.scratch, unit, message, error)
            state.fail(message)
            raise UnitFailedError(message) from error


def _cause(error: Exception) -> str:
    is_ours = isinstance(error, ServableCoreError)
    return str(error) if is_ours else f"{type(error).__name__}: {error}"


def _log_retry(unit_index: int, error: Exception, secs: float) -> None:
    _logger.warning("unit %d: %s; trying again in %.1f s", unit_index, error, secs)


@beam.typehints.with_input_types(str)
class MergeStates(beam.CombineFn):
    """Merges the states of several places, each of which has those of some rows.

    An accumulator is the places whose states are still to be merged. Several wait for each other,
    as each merge reads and writes all; never many. A merge holds one kind of states at a time. Its
    places stay until the job ends, so a bundle that is tried again finds them.
    """

    def __init__(
        self, measured: EvaluationSetup, scratch: str, *, max_waiting_places: int = 32
    ) -> None:
        """Merges nothing yet.

        Args:
            measured: Whose states these are.
            scratch: Directory that the workers share, and that goes with the job.
            max_waiting_places: More are merged into one.
        """
        self._measured, self._scratch = measured, scratch
        self._max_waiting_places = max_waiting_places

    def create_accumulator(self) -> tuple[str, ...]:
        """Returns no places."""
        return ()

    def add_input(self, accumulator: tuple[str, ...], place: str) -> tuple[str, ...]:
        """Returns the places with another one."""
        return self._few((*accumulator, place))

    def merge_accumulators(self, accumulators: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
        """Returns the places of all, which may be given as any iterable."""
        return self._few(tuple(place for each in accumulators for place in each))

    def extract_output(self, accumulator: tuple[str, ...]) -> str | None:
        """Returns the one place with the states of all rows; None of no rows."""
        return self._merged(accumulator) if accumulator else None

    def _few(self, places: tuple[str, ...]) -> tuple[str, ...]:
        return places if len(places) <= self._max_waiting_places else (self._merged(places),)

    def _merged(self, places: tuple[str, ...]) -> str:
        if len(places) == 1:
            return places[0]
        evaluation = create_evaluation(self._measured.options())
        return spill(SpilledStates(evaluation, places), self._scratch)


@dataclass(eq=False, kw_only=True)
class _WriteStatesFn(beam.DoFn):
    """Writes the states of all rows, one at a time."""

    saved: SavedEvaluation
    output: str

    def process(self, place: str | None) -> Iterator[int]:
        states = SpilledStates(self.saved.evaluation(), () if place is None else (place,))
        write_states(replace(self.saved, states=states), self.output)
        yield 1

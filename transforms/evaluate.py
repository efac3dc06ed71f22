"""The evaluation pipeline: thin Beam shells over the units' states, their merge, and their files.

Impulse -> unit numbers -> Reshuffle -> measure each unit -> merge states -> write states.
States cross stages as bytes of Arrow tables. What they mean is told outside of Beam.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import apache_beam as beam
from apache_beam.coders import Coder
from apache_beam.pvalue import PBegin, PCollection

from servable_core.errors import AbortedError, FailedPreconditionError, ServableCoreError
from servable_core.runtime.retry import RetryOptions, retry
from transforms.evaluation.evaluation_setup import EvaluationSetup
from transforms.evaluation.state_bytes import decode_states, encode_states
from transforms.evaluation.state_files import SavedEvaluation, write_states
from transforms.evaluation.unit_source import MeasureUnit, UnitSource
from transforms.failures import (
    UnitFailedError,
    is_transient,
    read_first_failure,
    record_failure,
)
from transforms.job_state import job_state
from transforms.metrics import Accumulator, Evaluation, States, create_evaluation
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
            | "MergeStates" >> beam.CombineGlobally(_MergeStates(measured))
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
    """Measures one unit per element. Its models live in the process's worker core."""

    source: UnitSource
    measured: EvaluationSetup
    scratch: str
    max_unit_retries: int
    stops_siblings: bool
    _resources: ExitStack = field(default_factory=ExitStack, init=False, repr=False)
    _measure: MeasureUnit | None = field(default=None, init=False, repr=False)
    _evaluation: Evaluation | None = field(default=None, init=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        names = ("source", "measured", "scratch", "max_unit_retries", "stops_siblings")
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]  # a fresh instance, on a worker

    def setup(self) -> None:
        self._evaluation = create_evaluation(self.measured.options())
        self._measure = self._resources.enter_context(self.source.opened(job_state(self.scratch)))

    def process(self, unit_index: int) -> Iterator[bytes]:
        if self._measure is None or self._evaluation is None:
            raise FailedPreconditionError("process was called before setup")
        if self.stops_siblings:
            self._stop_after_failure()
        yield encode_states(self._evaluation, self._run(unit_index, self._measure))

    def teardown(self) -> None:
        self._measure = None
        self._resources.close()

    def _stop_after_failure(self) -> None:
        failure = read_first_failure(self.scratch)
        if failure is not None:
            abort = job_state(self.scratch).abort
            abort.set(failure)
            abort.check()

    def _run(self, unit_index: int, measure: MeasureUnit) -> States:
        """Measures a unit, retrying what may pass; a failure stops all siblings."""
        state = job_state(self.scratch)
        with state.active_unit():
            state.abort.check()
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


@beam.typehints.with_input_types(bytes)
@beam.typehints.with_output_types(bytes)
class _MergeStates(beam.CombineFn):
    """Merges states; its accumulators travel as bytes."""

    def __init__(self, measured: EvaluationSetup) -> None:
        super().__init__()
        self._codec = _StatesCodec(measured)

    def create_accumulator(self) -> Accumulator:
        return Accumulator(self._codec.evaluation)

    def add_input(self, accumulator: Accumulator, content: bytes) -> Accumulator:
        accumulator.add(decode_states(self._codec.evaluation, content))
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[Accumulator]) -> Accumulator:
        merged = self.create_accumulator()
        for each in accumulators:
            merged.add(each.merged())
        return merged

    def extract_output(self, accumulator: Accumulator) -> bytes:
        return encode_states(self._codec.evaluation, accumulator.merged())

    def get_accumulator_coder(self) -> Coder:
        return self._codec


class _StatesCodec(Coder):
    """Codes accumulators of states. What is measured travels with it."""

    def __init__(self, measured: EvaluationSetup) -> None:
        self._measured = measured
        self._evaluation: Evaluation | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"_measured": self._measured, "_evaluation": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    @property
    def evaluation(self) -> Evaluation:
        """What measures; made where it is needed, for its functions need not travel."""
        if self._evaluation is None:
            self._evaluation = create_evaluation(self._measured.options())
        return self._evaluation

    def encode(self, value: Accumulator) -> bytes:
        return encode_states(self.evaluation, value.merged())

    def decode(self, encoded: bytes) -> Accumulator:
        accumulator = Accumulator(self.evaluation)
        accumulator.add(decode_states(self.evaluation, encoded))
        return accumulator

    def is_deterministic(self) -> bool:
        return True

    def to_type_hint(self) -> type[Accumulator]:
        return Accumulator

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(other)["_measured"] == self._measured

    def __hash__(self) -> int:
        return hash(type(self))


@dataclass(eq=False, kw_only=True)
class _WriteStatesFn(beam.DoFn):
    """Writes the states of all rows."""

    saved: SavedEvaluation
    output: str

    def process(self, content: bytes) -> Iterator[int]:
        states = decode_states(self.saved.evaluation(), content)
        write_states(replace(self.saved, states=states), self.output)
        yield 1

"""The evaluate job: prepare, launch, watch; then finalise, judge and report."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace

from pipelines.beam_options import RunnerChoice, choose_runner
from pipelines.console import Progress, ProgressReporter, say
from pipelines.evaluate_options import EvaluateOptions
from pipelines.evaluation_directory import (
    check_evaluation_directory,
    clear_evaluation,
    clear_evaluation_scratch,
)
from pipelines.evaluation_outcome import EvaluationOutcome, tell_outcome
from pipelines.interruption import stop_from_thread, stop_on_signals
from pipelines.job_run import (
    STOP_SIBLINGS_SECS,
    JobFailedError,
    explain_failure,
    load_libraries,
    quiet_libraries,
)
from pipelines.model_preparation import prepare_models
from pipelines.output_directory import check_apart, check_plan_apart
from pipelines.output_lock import OutputLock, locked
from pipelines.prepared_evaluation import Prepared
from pipelines.report.number_format import counted
from pipelines.saved_preparation import prepare_saved
from servable_core.errors import AbortedError, InvalidArgumentError
from servable_core.runtime.clock import Clock, SystemClock
from transforms.evaluation.gate_config import parse_gate
from transforms.evaluation.noise_floor import noise_floor
from transforms.evaluation.state_files import STATES_DIRECTORY, SavedEvaluation, read_states
from transforms.failure_budget import FailureBudget, TooManyFailuresError
from transforms.job_state import JobState, start_job_state
from transforms.metrics.row_checks import ROW_COUNTS
from transforms.plan_files import write_plan
from transforms.storage import delete_tree
from transforms.worker_core import worker_cores

_MANY_SLICES = 3000  # whose metrics take some ten seconds
_LAST_WORDS = "nothing was concluded; start anew with the same command"


def run(options: EvaluateOptions, clock: Clock | None = None) -> EvaluationOutcome:
    """Runs the job to its end.

    Raises:
        ServableCoreError: Something is wrong with the request; nothing was started.
        JobFailedError: A unit failed.
        AbortedError: A signal stopped the job.
    """
    clock = clock or SystemClock()
    started_secs = clock.now()
    runner = choose_runner(options.beam_args)
    if runner.template_location:
        raise InvalidArgumentError(
            "--template_location: an evaluation ends with a verdict on this machine, so it cannot be a template"
        )
    gate = None if options.config.gate is None else parse_gate(options.config.gate)
    output = options.output_path
    check_evaluation_directory(output, options.if_exists)
    try:
        prepared = _prepared(options)
        if options.aa:
            prepared = _with_noise_floor(prepared, options, clock)
        with _claimed(options, prepared, clock) as lock:
            launched_secs = clock.now()
            with _states_withdrawn(output, lock):
                _launch(options, runner, prepared, lock, clock)
                unit_secs = clock.now() - launched_secs
                saved = read_states(output)
                _check_failures(saved, options.execution.failure_budget)
                _check_any_rows(saved)
            if saved.catalog.num_slices > _MANY_SLICES:
                say(
                    f"adding up the metrics of {saved.catalog.num_slices:,} slices, which takes a while"
                )
            return tell_outcome(
                saved, output, gate, clock=clock, started_secs=started_secs, unit_secs=unit_secs
            )
    finally:
        worker_cores.close_idle()


def _prepared(options: EvaluateOptions) -> Prepared:
    inputs = options.models.get("input") or ()
    check_apart(options.output_path, inputs, options.models.get("model_base_path"))
    load_libraries(has_models=not options.predictions)
    if options.predictions:
        return prepare_saved(options)
    prepared = prepare_models(options)
    if prepared.plan is not None:
        check_plan_apart(options.output_path, prepared.plan, inputs)
    return prepared


def _with_noise_floor(prepared: Prepared, options: EvaluateOptions, clock: Clock) -> Prepared:
    if prepared.plan is None:
        return prepared
    say("running the baseline twice over the first rows")
    found = noise_floor(prepared.plan, prepared.measured, options.execution, clock)
    return replace(prepared, facts={**prepared.facts, "noise_floor": asdict(found)})


@contextmanager
def _claimed(options: EvaluateOptions, prepared: Prepared, clock: Clock) -> Iterator[OutputLock]:
    """Holds the lock on the output directory during the body, what was there before cleared."""
    output, scratch = options.output_path, options.scratch_path
    with locked(scratch, take_over=options.take_over, clock=clock) as lock:
        try:
            check_evaluation_directory(output, options.if_exists)
            clear_evaluation(output)
            if prepared.plan is not None:
                write_plan(prepared.plan, scratch)
            yield lock
        finally:
            if not lock.is_lost:  # else it is another job's by now
                clear_evaluation_scratch(output)


@contextmanager
def _states_withdrawn(output: str, lock: OutputLock) -> Iterator[None]:
    """Deletes the states if the body fails: no gate must judge them."""
    try:
        yield
    except BaseException:
        if not lock.is_lost:
            delete_tree(f"{output}/{STATES_DIRECTORY}")
        raise


def _launch(
    options: EvaluateOptions,
    runner: RunnerChoice,
    prepared: Prepared,
    lock: OutputLock,
    clock: Clock,
) -> None:
    from pipelines.launch import run_evaluation

    scratch = options.scratch_path
    state = start_job_state(scratch)
    say(_starting_line(prepared, runner))
    reporter = (
        ProgressReporter(_progress_reader(prepared, state), clock)
        if runner.is_in_process
        else nullcontext()
    )
    measured = prepared.measured
    try:
        with (
            stop_on_signals(
                state.abort, workers_are_here=runner.is_in_process, last_words=_LAST_WORDS
            ),
            lock.stopping(stop_from_thread(state.abort, workers_are_here=runner.is_in_process)),
            quiet_libraries(enabled=not options.verbose),
            reporter,
        ):
            try:
                run_evaluation(
                    SavedEvaluation(
                        setup=measured.setup,
                        catalog=measured.catalog,
                        states={},
                        facts=prepared.facts,
                    ),
                    prepared.source,
                    runner,
                    output=options.output_path,
                    scratch=scratch,
                    max_unit_retries=options.execution.max_unit_retries,
                )
            finally:  # FnApiRunner leaves the siblings of a failed unit behind
                state.wait_until_idle(STOP_SIBLINGS_SECS, clock)
        state.abort.check()  # what stops the job may come too late for its last unit
    except KeyboardInterrupt as error:
        raise AbortedError(f"stopped: {error}") from error
    except Exception as error:
        raise explain_failure(error, state, scratch) from error


def _check_failures(saved: SavedEvaluation, budget: FailureBudget) -> None:
    """Checks that no more records failed than may, of all workers together.

    Raises:
        JobFailedError: They did.
    """
    failed = saved.setup.failed_rows.numbers(saved.states)
    rows = _row_counts(saved)["rows"]
    try:  # what failed for all versions is none of these rows
        budget.check(max(failed), rows + min(failed), is_final=True)
    except TooManyFailuresError as error:
        raise JobFailedError(str(error)) from error


def _check_any_rows(saved: SavedEvaluation) -> None:
    """Checks that a row was evaluated.

    Raises:
        JobFailedError: None was; the message says what is wrong with them.
    """
    counts = _row_counts(saved)
    if counts["valid_rows"]:
        return
    faults = [name for name, number in counts.items() if name != "rows" and number]
    wrong = ", ".join(_fault(saved, name) for name in faults)
    raise JobFailedError(
        f"none of the {counts['rows']:,} rows could be evaluated ({wrong}): check the label, the weight and the predictions"
    )


def _fault(saved: SavedEvaluation, name: str) -> str:
    """Returns a count of all rows, and of which version, if others have less."""
    found = [each[name] for each in saved.evaluation().row_counts(saved.states, slice_id=0)]
    most = max(found)
    version = "" if min(found) == most else f" of version {saved.setup.versions[found.index(most)]}"
    return f"{name} {most:,}{version}"


def _row_counts(saved: SavedEvaluation) -> dict[str, int]:
    """Returns the counts of all rows by name, of the version with most."""
    found = saved.evaluation().row_counts(saved.states, slice_id=0)
    return {name: max(each[name] for each in found) for name in ROW_COUNTS}


def _starting_line(prepared: Prepared, runner: RunnerChoice) -> str:
    setup, num_slices = prepared.measured.setup, prepared.measured.catalog.num_slices
    baseline, *candidates = setup.versions
    others = f"{', '.join(map(str, candidates))} against " if candidates else ""
    versions = f"version{'s' if len(candidates) > 1 else ''} {others}{baseline}"
    rows = "" if prepared.num_rows is None else f"{counted(prepared.num_rows, 'row')}, "
    slices = "" if num_slices == 1 else f", {counted(num_slices - 1, 'slice')}"
    units = counted(prepared.source.num_units, "unit")
    return (
        f"evaluating {versions} of {setup.model_name} ({setup.task.value}) over {rows}"
        f"{units}{slices}, on {runner.name}"
    )


def _progress_reader(prepared: Prepared, state: JobState) -> Callable[[], Progress]:
    """Returns what reads the progress of the workers in this process."""

    def read() -> Progress:
        counters = state.counters()
        if prepared.num_rows:
            fraction = counters.rows / prepared.num_rows
        else:
            fraction = counters.bytes / max(1, prepared.size_bytes)
        return Progress(
            rows=counters.rows,
            rows_this_run=counters.rows,
            total_rows=prepared.num_rows,
            fraction=fraction,
            fraction_this_run=fraction,
        )

    return read

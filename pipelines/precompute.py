"""The precompute job: plan or resume, launch, watch, report."""

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from pipelines.batching_summary import batching_lines, mean_batch_rows
from pipelines.beam_options import RunnerChoice, choose_runner
from pipelines.console import Progress, ProgressReporter, say
from pipelines.interruption import stop_from_thread, stop_on_signals
from pipelines.job_run import (
    STOP_SIBLINGS_SECS,
    JobFailedError,
    PlanReplacedError,
    explain_failure,
    quiet_libraries,
)
from pipelines.options import PrecomputeOptions
from pipelines.output_directory import (
    check_apart,
    check_plan_apart,
    check_usable,
    clear,
    clear_scratch,
    declare_unfinished,
    is_complete,
)
from pipelines.output_lock import OutputLock, locked
from pipelines.run_summary import bytes_line, failure_lines, load_words, time_lines
from pipelines.start_up import loaded_beside_beam, start_tensorflow
from servable_core.errors import AbortedError, FailedPreconditionError
from servable_core.runtime.clock import Clock, SystemClock
from servable_core.runtime.file_system import FileInfo
from servable_core.servables.saved_model.fingerprint import check_fingerprint, fingerprint_version
from transforms.finalize import MANIFEST_FILE
from transforms.job_state import JobState, job_state, start_job_state
from transforms.plan import InputFile, Plan
from transforms.plan_files import check_in_place, write_plan
from transforms.planning import make_plan
from transforms.receipt_reader import DoneUnits, ReceiptReader, create_reading_executor
from transforms.storage import file_system_for, read_bytes, stat_file
from transforms.worker_core import acquired_core, worker_core_config, worker_cores

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunReport:
    """What a run did.

    Attributes:
        plan: The plan.
        output: Output directory.
        rows: Input rows of the whole job.
        seconds: Time in which units ran, all runs of the job together.
        total_seconds: From the call to here: planning, imports and model load included.
        mean_batch_size: Rows per model call.
        peak_rss_bytes: Largest resident memory of a worker.
        manifest: The content of `_manifest.json`.
    """

    plan: Plan
    output: str
    rows: int
    seconds: float
    total_seconds: float
    mean_batch_size: float
    peak_rss_bytes: int
    manifest: dict[str, Any]


def run(options: PrecomputeOptions, clock: Clock | None = None) -> RunReport:
    """Runs the job to its end.

    Raises:
        ServableCoreError: Something is wrong with the request; nothing was started.
        JobFailedError: A unit failed, or another job has taken the output directory over.
        AbortedError: A signal stopped the job.
    """
    clock = clock or SystemClock()
    started_secs = clock.now()
    runner = choose_runner(options.beam_args)
    output = options.output_path
    try:
        with _planned(options, runner, clock) as (plan, lock):
            clear_scratch(output)
            if is_complete(output) and _num_done(plan, output) == len(plan.units):
                say(f"the job in {output} is complete already")
            else:
                declare_unfinished(output)
                _launch(options, runner, plan, lock, clock)
            return _report(plan, output, clock.now() - started_secs)
    finally:
        worker_cores.close_idle()


def write_template(options: PrecomputeOptions, clock: Clock | None = None) -> str:
    """Plans the job, writes the template that `--template_location` asks for, and runs nothing.

    Each launch of the template runs those units of the plan that are not done by then, and the
    last stage.

    Returns:
        The lines that tell what was written.

    Raises:
        ServableCoreError: Something is wrong with the request.
        JobFailedError: The plan is written, the template is not.
    """
    runner = choose_runner(options.beam_args)
    with _planned(options, runner, clock or SystemClock()) as (plan, _):
        try:
            with quiet_libraries(enabled=not options.verbose):
                _run_pipeline(options, runner)
        except Exception as error:
            cause = f"{type(error).__name__}: {error}"
            raise JobFailedError(f"the template was not written: {cause}") from error
    return (
        f"template written to {runner.template_location}; nothing has run yet\n"
        f"  each launch of it runs what is left of the {len(plan.units)} units planned in"
        f" {options.output_path}"
    )


@contextmanager
def _planned(
    options: PrecomputeOptions, runner: RunnerChoice, clock: Clock
) -> Iterator[tuple[Plan, OutputLock]]:
    """Holds the lock on the output directory during the body, its plan resumed or written anew."""
    output = options.output_path
    check_apart(output, options.input or (), options.model_base_path)
    resumed = check_usable(output, options.if_exists)
    start_tensorflow()
    if resumed is not None:
        options.check_resumes(resumed)
        _check_unchanged(resumed)
        plan = resumed
    else:
        plan = make_plan(options.plan_request(), options.execution)
        check_plan_apart(output, plan, options.input or ())
    with (
        loaded_beside_beam(_loaded_models(options, runner, plan)),
        locked(output, take_over=options.take_over, clock=clock) as lock,
    ):
        if check_usable(output, options.if_exists) != resumed:
            raise FailedPreconditionError(
                f"another job has changed --output={output} while this one was planned; give the same command again"
            )
        if resumed is None:
            clear(output)
            plan = write_plan(plan, output)
        yield plan, lock


def _loaded_models(
    options: PrecomputeOptions, runner: RunnerChoice, plan: Plan
) -> AbstractContextManager[object]:
    """Holds the models in memory where this process is the worker; elsewhere does nothing.

    So a model that does not load is told before anything is written.
    """
    if not runner.is_in_process:
        return nullcontext()
    return acquired_core(worker_core_config(plan, options.execution))


def _check_unchanged(plan: Plan) -> None:
    """Checks that models and inputs are still those that were planned."""
    for model in plan.models:
        file_system = file_system_for(model.path)
        found = fingerprint_version(model.path, file_system.list_files(model.path), file_system)
        check_fingerprint(model.path, model.fingerprint, found)
    with create_reading_executor(plan.inputs[0].path, "inputs") as executor:
        files = executor.map(stat_file, [each.path for each in plan.inputs])
        for each, file in zip(plan.inputs, files, strict=True):
            _check_same_file(each, file)


def _check_same_file(planned: InputFile, file: FileInfo | None) -> None:
    was = (planned.size_bytes, planned.mtime_secs)
    if file is None or (file.size_bytes, file.mtime_secs) != was:
        what = "is gone" if file is None else "changed"
        raise FailedPreconditionError(
            f"the input file {planned.path} {what} since the job was planned, so resuming would mix old and new rows; start anew with --if_exists=overwrite"
        )


def _launch(
    options: PrecomputeOptions, runner: RunnerChoice, plan: Plan, lock: OutputLock, clock: Clock
) -> None:
    output = options.output_path
    state = start_job_state(output)
    reader = _receipt_reader(plan, output)
    done = reader.refresh()
    say(_starting_line(plan, done, runner))
    in_process = state if runner.is_in_process else None
    read_progress = _progress_reader(plan, reader, done, in_process)
    try:
        with (
            stop_on_signals(
                state.abort,
                workers_are_here=runner.is_in_process,
                last_words=f"what was committed is safe; {options.how_to_resume}",
            ),
            lock.stopping(stop_from_thread(state.abort, workers_are_here=runner.is_in_process)),
            quiet_libraries(enabled=not options.verbose),
            ProgressReporter(read_progress, clock),
        ):
            try:
                _run_pipeline(options, runner)
            finally:  # FnApiRunner leaves the siblings of a failed unit behind
                state.wait_until_idle(STOP_SIBLINGS_SECS, clock)
    except KeyboardInterrupt as error:
        raise AbortedError(f"stopped: {error}") from error
    except Exception as error:
        _check_not_replaced(plan, output)
        raise explain_failure(error, state, output) from error


def _check_not_replaced(plan: Plan, output: str) -> None:
    """Checks that a job has not failed since another one has its directory; to be called if it has failed.

    Raises:
        PlanReplacedError: That is why.
    """
    try:
        check_in_place(plan, output)
    except AbortedError as replaced:
        raise PlanReplacedError(str(replaced)) from replaced
    except Exception:  # the failure that led here is the one to tell
        _logger.info("the plan in %s cannot be read", output, exc_info=True)


def _run_pipeline(options: PrecomputeOptions, runner: RunnerChoice) -> None:
    from pipelines.launch import run_units

    run_units(options.output_path, options.execution, runner, options.command_line)


def _num_done(plan: Plan, output: str) -> int:
    return ReceiptReader(plan, output).refresh().units


def _receipt_reader(plan: Plan, output: str) -> ReceiptReader:
    """Returns a reader that workers of this process share: they need not read receipts again."""
    reader = job_state(output).receipts = ReceiptReader(plan, output)
    return reader


def _starting_line(plan: Plan, done: DoneUnits, runner: RunnerChoice) -> str:
    models = ", ".join(str(each.servable_id) for each in plan.models)
    rows = "" if plan.num_rows is None else f"{plan.num_rows:,} rows, "
    skipped = f", {done.units} of them done already" if done.units else ""
    return (
        f"precomputing {models} over {rows}{len(plan.inputs)} files"
        f" in {len(plan.units)} units{skipped}, on {runner.name}"
    )


def _progress_reader(
    plan: Plan, reader: ReceiptReader, before: DoneUnits, state: JobState | None
) -> Callable[[], Progress]:
    """Returns what reads the progress: the counters of this process if units run here, else receipts."""

    def from_receipts() -> Progress:
        now = reader.refresh()
        return _progress(plan, before, now.rows - before.rows, now.size_bytes - before.size_bytes)

    if state is None:
        return from_receipts

    def from_counters() -> Progress:
        counters = state.counters()
        return _progress(plan, before, counters.rows, counters.bytes)

    return from_counters


def _progress(plan: Plan, before: DoneUnits, new_rows: int, new_bytes: int) -> Progress:
    rows = before.rows + new_rows
    if plan.num_rows:
        fraction, new_fraction = rows / plan.num_rows, new_rows / plan.num_rows
    else:
        total = max(1, plan.size_bytes)
        fraction, new_fraction = (before.size_bytes + new_bytes) / total, new_bytes / total
    return Progress(
        rows=rows,
        rows_this_run=new_rows,
        total_rows=plan.num_rows,
        fraction=fraction,
        fraction_this_run=new_fraction,
    )


def _report(plan: Plan, output: str, total_seconds: float) -> RunReport:
    content = read_bytes(f"{output}/{MANIFEST_FILE}")
    if content is None:
        raise JobFailedError(f"{output} has no {MANIFEST_FILE}: the job's last stage has not run")
    manifest = json.loads(content)
    return RunReport(
        plan=plan,
        output=output,
        rows=manifest["rows"],
        seconds=manifest["timings"]["steady_secs"],
        total_seconds=total_seconds,
        mean_batch_size=mean_batch_rows(manifest),
        peak_rss_bytes=manifest["peak_rss_bytes"],
        manifest=manifest,
    )


def summary(report: RunReport) -> str:
    """Returns the lines that end a run."""
    versions = len(report.plan.models)
    of_versions = f" x {versions} versions" if versions > 1 else ""
    rate = report.rows / max(report.seconds, 1e-9)
    lines = [
        (
            f"done: {report.rows:,} rows{of_versions} in {report.seconds:.1f} s,"
            f" {rate:,.0f} rows/s ({report.total_seconds:.1f} s with start-up)"
        ),
        *time_lines(report.manifest),
        *batching_lines(report.manifest),
        *failure_lines(report.manifest),
        f"  peak memory  {report.peak_rss_bytes / 2**20:,.0f} MiB",
        bytes_line(report.manifest),
        f"  output       {report.output}",
    ]
    return "\n".join([*lines, *_model_lines(report.manifest)])


def _model_lines(manifest: Mapping[str, Any]) -> list[str]:
    return [
        f"    model_name={each['name']}/model_version={each['version']}  {each['rows']:,} rows"
        f"{_reused_words(each)}{load_words(manifest, each['name'], each['version'])}"
        for each in manifest["models"]
    ]


def _reused_words(model: Mapping[str, Any]) -> str:
    reused = model.get("rows_reused")  # none in the manifests of jobs before there was the flag
    return f", {reused:,} of them with the outputs of an equal row" if reused else ""

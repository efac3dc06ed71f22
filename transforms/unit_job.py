"""All that processing any unit of a plan needs, made once per worker."""

from dataclasses import dataclass

from servable_core.runtime.clock import Clock
from transforms.execution import ExecutionOptions
from transforms.job_state import JobState
from transforms.model_stage import ModelStage
from transforms.plan import Plan
from transforms.user_functions import BatchFunction, load_function
from transforms.worker_core import WorkerCore


@dataclass(frozen=True, kw_only=True)
class UnitJob:
    """All that processing any unit of a plan needs. Thread-safe.

    Attributes:
        plan: The plan.
        output: Output directory.
        execution: Limits.
        core: Models and batching of this process.
        stages: One for each model of the plan.
        preprocess: Applied to each batch that was read, or None.
        postprocess: Applied to each batch before it is written, or None.
        state: The process's abort token and counters.
        clock: For the receipts.
        command_line: The command that the job was started with, for the receipts, too.
    """

    plan: Plan
    output: str
    execution: ExecutionOptions
    core: WorkerCore
    stages: tuple[ModelStage, ...]
    preprocess: BatchFunction | None
    postprocess: BatchFunction | None
    state: JobState
    clock: Clock
    command_line: str = ""


def create_unit_job(
    plan: Plan,
    output: str,
    execution: ExecutionOptions,
    *,
    core: WorkerCore,
    state: JobState,
    clock: Clock,
    command_line: str = "",
) -> UnitJob:
    """Builds the job for a plan whose models `core` has loaded."""
    content = plan.content
    return UnitJob(
        plan=plan,
        output=output,
        execution=execution,
        core=core,
        stages=tuple(ModelStage(core, model, content) for model in plan.models),
        preprocess=load_function("--preprocess", content.preprocess),
        postprocess=load_function("--postprocess", content.postprocess),
        state=state,
        clock=clock,
        command_line=command_line,
    )

"""How one model's rows are batched: files and flags in, the options of a batching session out."""

from dataclasses import dataclass, replace

from servable_core.batching import QueueOptions
from servable_core.batching.auto_batch_size import CalibrationOptions
from servable_core.batching.batch_queue import BatchPaddingPolicy
from servable_core.batching.batch_runner import RunOptions
from servable_core.batching.batch_sizing import Calibration
from servable_core.batching.padding import PaddingOptions
from servable_core.config import BatchingParameters
from transforms.execution import ExecutionOptions

MAX_BATCH_CELLS = 4096
_MAX_BATCH_CELLS_ON_GPU = 32_768
_MAX_BATCH_ROWS = 65_536
_STEPS = 4  # doublings that calibration may go from where it starts, up or down
# Enough that a thread always finds the next batch, not more memory than that.
_BATCHES_PER_THREAD = 4
# Rows of a rare length wait so long for their like; those of a unit's end do not wait.
_RAGGED_TIMEOUT_SECS = 0.5
# Rows that wait for their like are in memory anyway, and what is in flight is bounded in bytes.
_NO_BOUND = 1 << 30
# Where files hold fewer rows than a batch should have, none is full.
_MAX_BATCHES_PASSED_OVER = 48
# Larger batches take memory, so they have to be worth it.
_MIN_GAIN = 0.04
# Another size means other shapes for every length, so it has to be worth it.
_RAGGED_MIN_GAIN = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchingOptions:
    """What a batching session is made with.

    Attributes:
        queue: How batches are formed.
        run: What to know of the model.
        max_batch_cells: Most rows times padded length; None for no bound.
        calibration: None where the size is given.
    """

    queue: QueueOptions
    run: RunOptions
    max_batch_cells: int | None
    calibration: Calibration | None


def batching_parameters(
    execution: ExecutionOptions, own: BatchingParameters | None
) -> BatchingParameters:
    """Returns what was said of batching: flags over the model's own file over the server's.

    Raises:
        InvalidArgumentError: The values do not go together.
    """
    said = execution.batching_parameters or BatchingParameters()
    if own is not None:
        said = said.for_model(own)
    size = execution.max_batch_size
    if size is not None or execution.allowed_batch_sizes is not None:
        said = _without_size(said, size)
    timeout = execution.batch_timeout_micros
    return said.overridden_by(
        BatchingParameters(
            max_batch_size=size if isinstance(size, int) else None,
            batch_timeout_secs=None if timeout is None else timeout / 1e6,
            max_enqueued_batches=execution.max_enqueued_batches,
            num_batch_threads=execution.num_batch_threads,
            allowed_batch_sizes=execution.allowed_batch_sizes,
        )
    )


def _without_size(said: BatchingParameters, size: int | str | None) -> BatchingParameters:
    """Returns a file's parameters without its size, and its allowed sizes up to the flag's."""
    sizes = said.allowed_batch_sizes or ()
    if sizes and isinstance(size, int):
        sizes = (*(each for each in sizes if each < size), size)
    return replace(
        said, max_batch_size=None, max_execution_batch_size=None, allowed_batch_sizes=sizes
    )


def max_rows(parameters: BatchingParameters) -> int | None:
    """Returns the most rows of a batch that files and flags allow; None for no bound."""
    sizes = parameters.execution_batch_sizes
    if sizes:
        return sizes[-1]
    if parameters.enable_large_batch_splitting and parameters.max_execution_batch_size:
        return parameters.max_execution_batch_size
    return parameters.max_batch_size


def create_batching_options(
    execution: ExecutionOptions,
    parameters: BatchingParameters,
    padding: PaddingOptions,
    *,
    is_ragged: bool,
    hint: int,
    num_threads: int,
    num_gpus: int,
    merges_tasks: bool,
    isolates_all_rows: bool = False,
) -> BatchingOptions:
    """Returns the options of one model's session.

    Args:
        execution: Flags.
        parameters: What files and flags say of batching, from `batching_parameters`.
        padding: How ragged inputs are padded.
        is_ragged: Whether there are any.
        hint: Rows to start with where no size is given, or rows to have in deterministic jobs.
        num_threads: Batch threads.
        num_gpus: GPUs that TensorFlow sees.
        isolates_all_rows: Whether every row that fails is to be found, or the first is enough.
        merges_tasks: Whether rows of different submissions may share a batch; if not, the job is
            deterministic, and everything that depends on timing is off.
    """
    allowed = parameters.execution_batch_sizes if merges_tasks else ()
    most = max_rows(parameters) if merges_tasks else hint
    calibration = None
    if most is None or (merges_tasks and parameters.max_batch_size is None):
        first = hint if most is None else min(hint, most)
        calibration = _calibration(
            allowed, first, num_gpus, num_threads=num_threads, is_ragged=is_ragged
        )
        most = most or max(calibration.sizes[-1], _MAX_BATCH_ROWS)
    cells = execution.max_batch_cells
    if is_ragged and cells is not None:
        calibration = None
    if is_ragged and cells is None and not merges_tasks:
        cells = MAX_BATCH_CELLS
    return BatchingOptions(
        queue=QueueOptions(
            max_batch_size=most,
            batch_timeout_secs=_timeout_secs(parameters, is_ragged, merges_tasks),
            max_enqueued_batches=parameters.max_enqueued_batches
            or (_NO_BOUND if is_ragged else _BATCHES_PER_THREAD * num_threads),
            # Readers cut batches to size; splitting one to top up a neighbour would only copy.
            enable_large_batch_splitting=bool(parameters.enable_large_batch_splitting),
            merge_tasks=merges_tasks,
            allowed_batch_sizes=allowed,
            batch_padding_policy=BatchPaddingPolicy(execution.batch_padding_policy),
        ),
        run=RunOptions(
            padding=padding,
            halves_on_exhaustion=merges_tasks,
            isolates_all_rows=isolates_all_rows,
            timeout_secs=execution.batch_timeout_secs,
        ),
        max_batch_cells=cells,
        calibration=calibration,
    )


def _timeout_secs(parameters: BatchingParameters, is_ragged: bool, merges_tasks: bool) -> float:
    if not merges_tasks:
        return 0.0  # nothing comes that a batch could wait for
    if parameters.batch_timeout_secs is not None:
        return parameters.batch_timeout_secs
    return _RAGGED_TIMEOUT_SECS if is_ragged else 0.0


def _calibration(
    allowed: tuple[int, ...], hint: int, num_gpus: int, *, num_threads: int, is_ragged: bool
) -> Calibration:
    if not is_ragged:
        num_in_flight = (_BATCHES_PER_THREAD + 1) * num_threads  # formed for the former size
        options = CalibrationOptions(
            min_gain=_MIN_GAIN, max_batches_passed_over=_MAX_BATCHES_PASSED_OVER + num_in_flight
        )
        # Beyond it CPUs gain nothing, and every thread holds a batch, and a copy of it.
        most = None if num_gpus else max(hint, _MAX_BATCH_ROWS)
        sizes = allowed or tuple(size for size in _around(hint) if most is None or size <= most)
        return Calibration(sizes=sizes, first=hint, options=options)
    first = _MAX_BATCH_CELLS_ON_GPU if num_gpus else MAX_BATCH_CELLS
    options = CalibrationOptions(min_gain=_RAGGED_MIN_GAIN)
    return Calibration(sizes=_around(first), first=first, options=options)


def _around(first: int) -> tuple[int, ...]:
    """Returns the sizes that are `first`, doubled or halved some times."""
    below = [first >> step for step in range(_STEPS, 0, -1) if first >> step]
    return tuple(dict.fromkeys([*below, *(first << step for step in range(_STEPS + 1))]))

"""How a job runs, as opposed to what it writes: may differ when the job is resumed."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from servable_core.batching.batch_queue import BatchPaddingPolicy
from servable_core.config import BatchingParameters
from servable_core.errors import InvalidArgumentError
from servable_core.servables.saved_model.options import SavedModelOptions, parse_devices
from servable_core.servables.saved_model.tensorflow_options import TensorFlowOptions
from servable_core.servables.saved_model.tensorflow_runtime import TensorFlowThreads
from servable_core.servables.signature import TensorSpec
from transforms.failure_budget import FailureBudget

_TARGET_BATCH_BYTES = 1 << 20
_MAX_BATCH_BYTES = 16 << 20  # so that many batches fit into what may be in flight
_INPUTS_PER_TARGET = 4
_MIN_BATCH_ROWS = 32
_VARYING_SIZE = 64
_MAX_BATCH_ROWS = 65_536
_MAX_BATCH_THREADS = 1024  # a typing error beyond that, and the system may have no more

AUTO = "auto"
PADDING_POLICIES = tuple(each.value for each in BatchPaddingPolicy)
_COUNTS = (
    "max_batch_size",
    "max_batch_cells",
    "max_enqueued_batches",
    "num_batch_threads",
    "max_in_flight_bytes",
    "gpu_memory_limit_mib",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ExecutionOptions:
    """Options of one worker process.

    Attributes:
        max_batch_size: Rows of a batch at most; "auto" finds them by measuring; None takes what
            files say, or else is "auto".
        max_batch_cells: Rows times padded length of a batch at most, where inputs are ragged; None
            finds them likewise.
        allowed_batch_sizes: Sizes that batches are padded to; None takes what files say.
        batch_padding_policy: "PAD_UP" or "BATCH_DOWN", where only some sizes are allowed.
        batch_timeout_micros: How long a batch that is not full waits for more rows.
        max_enqueued_batches: Batches that wait for a thread, per model.
        batching_parameters: What the batching parameters file says.
        num_batch_threads: Model calls at the same time; None means one per usable core, or two
            per GPU.
        batch_timeout_secs: A model call that takes longer fails its unit.
        max_in_flight_bytes: Rows read but not yet written, of all units that a process has in flight.
        devices: Devices for a replica of each model, such as "GPU:0,GPU:1", or "auto" for every GPU;
            None leaves it to TensorFlow.
        gpu_memory_limit_mib: What TensorFlow may take of each GPU.
        warm_up_batch_sizes: Whether each model is run at every allowed batch size while it loads.
        max_failed_fraction: Of the records, how many may be put aside before the job is stopped.
        max_failed_rows: Likewise, in numbers.
        max_unit_retries: Further attempts at a unit after an input or output error that may pass.
    """

    max_batch_size: int | str | None = None
    max_batch_cells: int | None = None
    allowed_batch_sizes: tuple[int, ...] | None = None
    batch_padding_policy: str = "PAD_UP"
    batch_timeout_micros: int | None = None
    max_enqueued_batches: int | None = None
    batching_parameters: BatchingParameters | None = None
    num_batch_threads: int | None = None
    batch_timeout_secs: float = 600.0
    max_in_flight_bytes: int = 192 << 20
    max_unit_retries: int = 3
    devices: str | None = None
    gpu_memory_limit_mib: int | None = None
    warm_up_batch_sizes: bool = False
    max_failed_fraction: float = 1.0
    max_failed_rows: int | None = None

    def __post_init__(self) -> None:
        self.failure_budget  # noqa: B018 - checks its bounds
        for name in _COUNTS:
            value = getattr(self, name)
            is_auto = name == "max_batch_size" and value == AUTO
            if value is not None and not is_auto and value < 1:
                raise InvalidArgumentError(f"--{name} must be 1 or more, got {value}")
        num_threads = batch_threads(self, num_gpus=0)
        if num_threads > _MAX_BATCH_THREADS:
            raise InvalidArgumentError(
                f"num_batch_threads must be {_MAX_BATCH_THREADS} or less, got {num_threads}: more than one for each core seldom help"
            )
        if (self.batch_timeout_micros or 0) < 0:
            raise InvalidArgumentError(
                f"--batch_timeout_micros must be 0 or more, got {self.batch_timeout_micros}"
            )
        SavedModelOptions(devices=parse_devices(self.devices or ""))
        tensorflow_options(self, mixed_precision=False)
        if self.batch_padding_policy not in PADDING_POLICIES:
            raise InvalidArgumentError(
                f"--batch_padding_policy must be one of {', '.join(PADDING_POLICIES)}, got {self.batch_padding_policy!r}"
            )
        if not self.batch_timeout_secs > 0:  # nor NaN
            raise InvalidArgumentError(
                f"--batch_timeout_secs must be positive, got {self.batch_timeout_secs}"
            )
        if self.max_unit_retries < 0:
            raise InvalidArgumentError(
                f"--max_unit_retries must be 0 or more, got {self.max_unit_retries}"
            )

    @property
    def failure_budget(self) -> FailureBudget:
        """How many records may be put aside."""
        return FailureBudget(
            max_failed_fraction=self.max_failed_fraction, max_failed_rows=self.max_failed_rows
        )


def usable_cores() -> int:
    """Returns the cores that this process may keep busy: its own, or its container's share."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = _cgroup_cores(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup"))
    return max(1, math.ceil(min(cores or 1, quota)))


def _cgroup_cores(mount: Path, membership: Path) -> float:
    """Returns the smallest CPU quota of this process's control groups; infinity if there is none."""
    quotas = [math.inf]
    for directory in cgroup_directories(_text(membership)):
        here = mount / directory
        quotas.append(parse_cpu_max(_text(here / "cpu.max")))
        quota, period = _text(here / "cpu.cfs_quota_us"), _text(here / "cpu.cfs_period_us")
        quotas.append(parse_cpu_max(f"{quota} {period}"))
    return min(quotas)


def cgroup_directories(membership: str) -> list[str]:
    """Returns where quotas may stand below the mount, by what /proc/self/cgroup says.

    A group is bound by those above it, too. In a container the path is often the host's, and the
    container's own group is the root of the mount.

    Args:
        membership: Lines such as `0::/user.slice/a` (v2) or `4:cpu,cpuacct:/docker/b` (v1).
    """
    found = dict.fromkeys(["", "cpu", "cpu,cpuacct"])
    for line in membership.splitlines():
        controllers, _, path = line.partition(":")[2].partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        names = [controllers, *path.strip("/").split("/")]
        for end in range(1, len(names) + 1):
            found["/".join(names[:end]).strip("/")] = None
    return [each for each in found if ".." not in each.split("/")]


def parse_cpu_max(text: str) -> float:
    """Returns the cores that `quota period` in microseconds allows; infinity if it is no limit.

    Args:
        text: As in cgroup v2's cpu.max, `200000 100000` or `max 100000`; v1 has -1 for no limit.
    """
    try:
        quota, period = (int(each) for each in text.split())
    except ValueError:  # "max", or there is no such file
        return math.inf
    return quota / period if quota > 0 and period > 0 else math.inf


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def batch_threads(options: ExecutionOptions, num_gpus: int) -> int:
    """Returns the number of batch threads: as asked, else two per GPU, else one per core."""
    said = options.batching_parameters
    from_file = said.num_batch_threads if said else None
    return options.num_batch_threads or from_file or 2 * num_gpus or usable_cores()


def tensorflow_options(options: ExecutionOptions, *, mixed_precision: bool) -> TensorFlowOptions:
    """Returns what TensorFlow is to be set to."""
    return TensorFlowOptions(
        gpu_memory_limit_mib=options.gpu_memory_limit_mib, mixed_precision=mixed_precision
    )


def tensorflow_threads(num_batch_threads: int, num_gpus: int) -> TensorFlowThreads:
    """Returns TensorFlow's threads that go with the batch threads.

    With one batch thread per core each call stays on one core; with few, TensorFlow spreads a call
    over all. inter_op is never 1 beside several batch threads, for that would serialise them.
    """
    cores = usable_cores()
    if num_gpus or num_batch_threads < cores:
        return TensorFlowThreads()
    return TensorFlowThreads(intra_op=1, inter_op=max(cores, 2))


def batch_size_for(inputs: Sequence[tuple[TensorSpec, tuple[int, ...]]]) -> int:
    """Returns a batch size by the bytes of a row, when none was asked for.

    A batch of about a mebibyte keeps a core's cache warm. Every input tensor costs a fixed effort per
    call, so signatures with many inputs get batches that are larger in proportion, up to a bound.

    Args:
        inputs: Each input with the shape of one row; sizes of -1 are counted as 64.
    """
    row_bytes = sum(_row_bytes(tensor, row_shape) for tensor, row_shape in inputs)
    target = _TARGET_BATCH_BYTES * max(1, len(inputs) // _INPUTS_PER_TARGET)
    rows = 2 ** round(math.log2(max(1, target / max(1, row_bytes))))
    most = 2 ** math.floor(math.log2(max(1, _MAX_BATCH_BYTES / max(1, row_bytes))))
    return min(_MAX_BATCH_ROWS, max(_MIN_BATCH_ROWS, min(rows, most)))


def _row_bytes(tensor: TensorSpec, row_shape: tuple[int, ...]) -> int:
    item_bytes = {"string": 256, "bool": 1}.get(tensor.dtype)
    if item_bytes is None:
        item_bytes = 2 if tensor.dtype == "bfloat16" else _numpy_item_bytes(tensor.dtype)
    return item_bytes * math.prod(_VARYING_SIZE if size < 0 else size for size in row_shape)


def _numpy_item_bytes(dtype: str) -> int:
    import numpy as np

    return np.dtype(dtype).itemsize

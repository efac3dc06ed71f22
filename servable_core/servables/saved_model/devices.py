"""The devices that replicas of a model are on, and what they take of each."""

from collections.abc import Sequence

from servable_core.errors import InvalidArgumentError
from servable_core.resources.resource_allocation import (
    RAM_BYTES,
    Resource,
    ResourceAllocation,
    host_ram,
)
from servable_core.servables.saved_model.options import AUTO
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow, num_gpus

GPU = "gpu"
"""A graphics card, as a device among resources; instance i is TensorFlow's GPU:i."""


def resolve_devices(devices: Sequence[str]) -> tuple[str, ...]:
    """Returns the devices by name; none stands for one replica where TensorFlow puts it.

    Args:
        devices: As `SavedModelOptions` has them.
    """
    if tuple(devices) != (AUTO,):
        return tuple(devices)
    gpus = num_gpus()
    return tuple(f"{GPU.upper()}:{index}" for index in range(gpus)) if gpus > 1 else ()


def check_devices(devices: Sequence[str]) -> None:
    """Checks that there are these devices. Starts TensorFlow if there are any to check.

    TensorFlow itself would put what belongs on a missing device somewhere else.

    Raises:
        InvalidArgumentError: One is missing; names those that there are.
    """
    if not devices:
        return
    logical = import_tensorflow().config.list_logical_devices()
    present = [each.name.removeprefix("/device:") for each in logical]
    missing = [each for each in devices if each not in present]
    if missing:
        raise InvalidArgumentError(
            f"there is no device {missing[0]}; TensorFlow sees {', '.join(present)}: choose among these"
        )


def replicated_ram(num_bytes: int, devices: Sequence[str]) -> ResourceAllocation:
    """Returns the memory of a model that takes `num_bytes` for each replica.

    What is on GPUs counts once on the host, too: variables pass through it, and the graph, tables
    and strings stay there.
    """
    gpus = [int(each.partition(":")[2]) for each in devices if each.startswith(GPU.upper())]
    on_gpus = ResourceAllocation({Resource(GPU, RAM_BYTES, each): num_bytes for each in gpus})
    return on_gpus + host_ram(num_bytes * max(1, len(devices) - len(gpus)))

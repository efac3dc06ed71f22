"""Options of TensorFlow for the whole process, set before it starts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from servable_core.errors import FailedPreconditionError, InvalidArgumentError
from servable_core.servables.saved_model.tensorflow_runtime import has_started, import_tensorflow

_GPU_REWRITER = "auto_mixed_precision"
_CPU_REWRITER = "auto_mixed_precision_onednn_bfloat16"


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorFlowOptions:
    """Options of TensorFlow for the whole process.

    Attributes:
        gpu_memory_growth: Whether a GPU's memory is taken as it is needed, not all at the start.
        gpu_memory_limit_mib: What TensorFlow may take of each GPU; None leaves what is set.
        mixed_precision: Whether models compute in 16 bits where TensorFlow holds that to be
            harmless, with inputs, outputs and variables as they are: in float16 on GPUs, in
            bfloat16 where there is none and oneDNN has it (x86 with AVX-512). Scores change, by
            about one part in a hundred. Has no effect on what XLA compiles.
    """

    gpu_memory_growth: bool = True
    gpu_memory_limit_mib: int | None = None
    mixed_precision: bool = False

    def __post_init__(self) -> None:
        if self.gpu_memory_limit_mib is not None and self.gpu_memory_limit_mib < 1:
            raise InvalidArgumentError(
                f"gpu_memory_limit_mib must be 1 or more, or None, got {self.gpu_memory_limit_mib}"
            )


def configure_tensorflow(options: TensorFlowOptions, tensorflow: Any = None) -> None:
    """Sets the options; does nothing where they are set already.

    Args:
        options: What to set.
        tensorflow: The module; None imports it.

    Raises:
        FailedPreconditionError: TensorFlow has started with other options.
    """
    tf = import_tensorflow() if tensorflow is None else tensorflow
    changes = [each for each in _settings(tf, options) if each.current != each.wanted]
    if changes and has_started(tf):
        name = changes[0].name
        raise FailedPreconditionError(
            f"{name} cannot become {changes[0].wanted}: TensorFlow has started in this process with {changes[0].current}; set it before any model is loaded, or run in a process of its own"
        )
    for each in changes:
        each.set()


def is_mixed_precision() -> bool:
    """Returns whether models compute in mixed precision."""
    return _has_rewriter(import_tensorflow())


@dataclass(frozen=True, kw_only=True, slots=True)
class _Setting:
    name: str
    current: Any
    wanted: Any
    set: Callable[[], None]


def _settings(tf: Any, options: TensorFlowOptions) -> Iterator[_Setting]:
    for gpu in tf.config.list_physical_devices("GPU"):
        yield _growth(tf, gpu, wanted=options.gpu_memory_growth)
        if options.gpu_memory_limit_mib is not None:
            yield _limit(tf, gpu, options.gpu_memory_limit_mib)
    # Rewriters could be set at any time, but a thread keeps those of its first call.
    yield _Setting(
        name="mixed_precision",
        current=_has_rewriter(tf),
        wanted=options.mixed_precision,
        set=partial(
            tf.config.optimizer.set_experimental_options, {_rewriter(tf): options.mixed_precision}
        ),
    )


def _growth(tf: Any, gpu: Any, *, wanted: bool) -> _Setting:
    config = tf.config.experimental
    return _Setting(
        name=f"gpu_memory_growth of {gpu.name}",
        current=bool(config.get_memory_growth(gpu)),
        wanted=wanted,
        set=partial(config.set_memory_growth, gpu, wanted),
    )


def _limit(tf: Any, gpu: Any, wanted_mib: int) -> _Setting:
    parts = tf.config.get_logical_device_configuration(gpu) or []
    whole = tf.config.LogicalDeviceConfiguration(memory_limit=wanted_mib)
    return _Setting(
        name=f"gpu_memory_limit_mib of {gpu.name}",
        current=sum(each.memory_limit for each in parts) or None,
        wanted=wanted_mib,
        set=partial(tf.config.set_logical_device_configuration, gpu, [whole]),
    )


def _has_rewriter(tf: Any) -> bool:
    return bool(tf.config.optimizer.get_experimental_options().get(_rewriter(tf), False))


def _rewriter(tf: Any) -> str:
    return _GPU_REWRITER if tf.config.list_physical_devices("GPU") else _CPU_REWRITER

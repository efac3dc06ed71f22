"""Imports and configures TensorFlow, once per process and without its start-up noise."""

import logging
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

from typing_extensions import override

from servable_core.errors import InvalidArgumentError
from servable_core.runtime.collection_pause import collection_paused
from servable_core.runtime.stderr_capture import captured_stderr

_logger = logging.getLogger(__name__)
_KERAS = "keras"

_lock = threading.Lock()
_tensorflow: Any = None  # Guarded by _lock.


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorFlowThreads:
    """Thread pools of TensorFlow's own; 0 leaves TensorFlow's default.

    Attributes:
        intra_op: Threads that one operation may use.
        inter_op: Threads over which independent operations spread. Never 1 when several batch
            threads run: it makes them take turns.
    """

    intra_op: int = 0
    inter_op: int = 0

    def __post_init__(self) -> None:
        if self.intra_op < 0 or self.inter_op < 0:
            raise InvalidArgumentError(
                f"TensorFlow thread counts must be 0 (its default) or more, got intra_op={self.intra_op}, inter_op={self.inter_op}"
            )


def import_tensorflow() -> Any:
    """Returns the `tensorflow` module; the first call takes seconds. Thread-safe."""
    global _tensorflow  # noqa: PLW0603 - one module object per process, as `import` itself has
    with _lock:
        if _tensorflow is None:
            os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
            with captured_stderr(), collection_paused(), keras_deferred():
                import tensorflow as tf

                tf.get_logger().setLevel(logging.ERROR)
                let_gpu_memory_grow(tf)  # its probing of GPUs is noisy, too
            _tensorflow = tf
        return _tensorflow


@contextmanager
def keras_deferred() -> Iterator[None]:
    """Keeps this thread from importing Keras during the body; later `tf.keras` and `keras` import it.

    It takes a second or more, with pandas, scikit-learn and Matplotlib where they are installed. TensorFlow
    imports it to register what SavedModels refer to, which Keras 2 did (as `tf_keras` it is imported
    as ever) and Keras 3 does not. To have no Keras is fine with TensorFlow. Other threads may import it
    meanwhile, as a user's function does, and what is imported already stays.
    """
    refusal = _KerasRefusal()
    sys.meta_path.insert(0, refusal)
    try:
        yield
    finally:
        sys.meta_path.remove(refusal)


class _KerasRefusal(MetaPathFinder, Loader):
    """Finds Keras, but does not load it, for the thread that makes this. TensorFlow asks where it lies."""

    def __init__(self) -> None:
        self._thread_id = threading.get_ident()

    @override
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] != _KERAS or threading.get_ident() != self._thread_id:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None:
            spec.loader = self
        return spec

    @override
    def create_module(self, spec: ModuleSpec) -> None:
        raise ModuleNotFoundError(f"{spec.name} is not to be imported yet", name=spec.name)

    @override
    def exec_module(self, module: ModuleType) -> None:
        """Never called: there is no module."""


def let_gpu_memory_grow(tf: Any) -> None:
    """Lets other processes have what this one does not need; the options may say otherwise later."""
    try:
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
    except (RuntimeError, ValueError):  # somebody else has started or configured TensorFlow
        _logger.info("TensorFlow was configured before; the memory of its GPUs stays as it is")


def has_started(tf: Any) -> bool:
    """Returns whether TensorFlow has made its devices, after which its options are fixed.

    It does not tell; but it refuses another number of threads from then on.
    """
    threading_config = tf.config.threading
    num_threads = threading_config.get_inter_op_parallelism_threads()
    with _lock:
        try:
            threading_config.set_inter_op_parallelism_threads(num_threads + 1)
        except RuntimeError:
            return True
        threading_config.set_inter_op_parallelism_threads(num_threads)
        return False


def configure_threads(threads: TensorFlowThreads) -> bool:
    """Sets TensorFlow's thread pools; returns False when it has started already and keeps others."""
    tf = import_tensorflow()
    try:
        if threads.intra_op:
            tf.config.threading.set_intra_op_parallelism_threads(threads.intra_op)
        if threads.inter_op:
            tf.config.threading.set_inter_op_parallelism_threads(threads.inter_op)
    except RuntimeError:
        _logger.info("TensorFlow was initialised before; its thread pools stay as they are")
        return False
    return True


def current_threads() -> TensorFlowThreads:
    """Returns the thread pools that TensorFlow runs with, or will once it has started."""
    threading_config = import_tensorflow().config.threading
    return TensorFlowThreads(
        intra_op=threading_config.get_intra_op_parallelism_threads(),
        inter_op=threading_config.get_inter_op_parallelism_threads(),
    )


def num_gpus() -> int:
    """Returns how many GPUs TensorFlow sees."""
    return len(import_tensorflow().config.list_physical_devices("GPU"))

"""A job's start: TensorFlow, which planning needs, then the models in a thread beside Apache Beam.

Two imports at once would gain nothing, for both hold Python's lock, and Beam's modules import each
other in circles, which two threads must not enter. Loading models is native code and reading files.
"""

import importlib
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import AbstractContextManager, ExitStack, contextmanager

from pipelines.interruption import check_not_interrupted
from servable_core.runtime.collection_pause import collection_paused
from servable_core.runtime.executor import create_executor
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow


def start_tensorflow() -> None:
    """Imports TensorFlow; from here on that is free.

    Raises:
        KeyboardInterrupt: A signal came, which the import has swallowed.
    """
    import_tensorflow()
    check_not_interrupted()


def import_beam() -> None:
    """Imports Beam and the pipelines; from here on that is free.

    Raises:
        KeyboardInterrupt: A signal came, which the import has swallowed.
    """
    with collection_paused():
        importlib.import_module("pipelines.launch")
    check_not_interrupted()


@contextmanager
def loaded_beside_beam(
    models: AbstractContextManager[object],
    *,
    executor: Executor | None = None,
    import_beam: Callable[[], None] = import_beam,
) -> Iterator[None]:
    """Holds `models` during the body: entered in a thread, while this one imports Beam.

    Nothing that it does may import Beam, unless that is there already: planning has imported it if
    inputs or models are remote.

    Args:
        models: What loads them.
        executor: Where it does; shut down before the body. A thread of its own if None.
        import_beam: What imports Beam.

    Raises:
        Exception: What `models` or `import_beam` raised.
    """
    with ExitStack() as held:
        with executor or create_executor(1, "model_load") as loader:
            loaded = loader.submit(held.enter_context, models)
            import_beam()
            loaded.result()
        yield

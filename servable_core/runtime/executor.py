"""The only maker of threads: named thread pools, an inline executor, and single threads."""

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from typing_extensions import override

from servable_core.errors import InvalidArgumentError

P = ParamSpec("P")
R = TypeVar("R")


class InlineExecutor(Executor):
    """Runs each task on the caller's thread, before `submit` returns."""

    @override
    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        future: Future[R] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - the future carries it to the one who asks
            future.set_exception(error)
        return future


class _NamedPool(ThreadPoolExecutor):
    """A FIFO pool that runs tasks inline where it can have no thread.

    Whoever is closed by `atexit` still has work to hand over, after Python has ended every pool.
    And the system may have no thread left.
    """

    @override
    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        try:
            return super().submit(fn, *args, **kwargs)
        except RuntimeError:
            if self._shutdown:  # shut down by its owner: that is a bug of the caller's
                raise
            return InlineExecutor().submit(fn, *args, **kwargs)

    @override
    def _adjust_thread_count(self) -> None:
        """Starts a thread for the task that `submit` has just queued, under its lock."""
        try:
            super()._adjust_thread_count()
        except RuntimeError:  # the system has no thread left
            if self._threads:
                return  # one of these takes the task
            self._work_queue.get_nowait()  # it will run inline, and must not run again later
            raise


def create_executor(num_threads: int, name: str) -> Executor:
    """Returns a FIFO pool of `num_threads` named threads; zero threads means inline.

    Raises:
        InvalidArgumentError: If there are less than none.
    """
    if num_threads < 0:
        raise InvalidArgumentError(
            f"num_threads must be 0 or more, got {num_threads}: 0 runs tasks on the caller's thread"
        )
    if num_threads == 0:
        return InlineExecutor()
    return _NamedPool(max_workers=num_threads, thread_name_prefix=name)


def start_thread(target: Callable[..., None], *args: Any, name: str) -> threading.Thread:
    """Starts and returns a daemon thread: the owner joins it, and a dying process never waits for it."""
    thread = threading.Thread(target=target, args=args, name=name, daemon=True)
    thread.start()
    return thread

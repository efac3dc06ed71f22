"""A thread pool whose number of threads may change while it works."""

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import ParamSpec, TypeVar

from servable_core.runtime.executor import create_executor

P = ParamSpec("P")
R = TypeVar("R")


class ResizableExecutor:
    """Runs tasks in the order of their submission; thread-safe.

    Args:
        num_threads: Tasks at a time; 0 runs them inside `submit`.
        name: Of the threads.
    """

    def __init__(self, num_threads: int, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._num_threads = num_threads  # Guarded by _lock.
        # Written under _lock, read without: `submit` may run the task.
        self._executor: Executor = create_executor(num_threads, name)

    @property
    def num_threads(self) -> int:
        """Tasks at a time; 0 is inline."""
        with self._lock:
            return self._num_threads

    def submit(self, task: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Runs `task` on a thread of the pool, or inline."""
        while True:
            executor = self._executor
            try:
                return executor.submit(task, *args, **kwargs)
            except RuntimeError:
                if executor is self._executor:
                    raise
                # It was replaced a moment ago: the new one takes the task.

    def resize(self, num_threads: int, *, wait: bool = True) -> None:
        """Changes the number of threads; returns when the tasks of the old ones have ended.

        Tasks submitted meanwhile run on the new threads, so for a while there are both. Must
        not be called from a task of the pool, unless it does not `wait`: then it returns at once,
        and the old threads end when their tasks have.

        Raises:
            InvalidArgumentError: If `num_threads` is below 0; nothing changes then.
        """
        with self._lock:
            if num_threads == self._num_threads:
                return
            old, self._executor = self._executor, create_executor(num_threads, self._name)
            self._num_threads = num_threads
        old.shutdown(wait=wait)

    def shutdown(self) -> None:
        """Returns when all tasks have ended, but for those of a `resize` that did not wait; none may follow."""
        with self._lock:
            executor = self._executor
        executor.shutdown()

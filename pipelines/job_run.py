"""What every job does around its pipeline: imports, silence of the libraries, telling failures."""

import importlib
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from pipelines.interruption import check_not_interrupted
from servable_core.errors import AbortedError, Code, ServableCoreError
from servable_core.runtime.collection_pause import collection_paused
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from transforms.failures import UnitFailedError, read_first_failure
from transforms.job_state import JobState

STOP_SIBLINGS_SECS = 60.0
_ADDED_BY_BEAM = re.compile(r" \[while running '[^']*'\]")


class JobFailedError(ServableCoreError):
    """Units failed; what was committed stays."""


class PlanReplacedError(JobFailedError):
    """The plan in the output directory is another job's by now: there is nothing to go on with."""

    code = Code.ABORTED


def load_libraries(*, has_models: bool = True) -> None:
    """Imports what a job needs, in the quickest way; from here on imports are free."""
    with collection_paused():
        importlib.import_module("pipelines.launch")  # and Apache Beam with it
        if has_models:
            import_tensorflow()
    check_not_interrupted()  # imports may swallow the exception


@contextmanager
def quiet_libraries(*, enabled: bool) -> Iterator[None]:
    """Keeps Beam's own words to itself: our messages tell what the user needs."""
    logger = logging.getLogger("apache_beam")
    before = logger.level
    if enabled:
        logger.setLevel(logging.CRITICAL + 1)
        os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    try:
        yield
    finally:
        logger.setLevel(before)


def explain_failure(error: Exception, state: JobState, directory: str) -> Exception:
    """Returns the error to tell: the first unit's failure, not what Beam made of it.

    Args:
        error: What the runner raised.
        state: Of this process.
        directory: Where workers record failures.
    """
    failure = state.first_failure or read_first_failure(directory)
    if failure is not None:
        return JobFailedError(failure)
    if state.abort.is_set:
        return AbortedError(f"stopped: {state.abort.reason}")
    if isinstance(error, (ServableCoreError, UnitFailedError)):
        return JobFailedError(_ADDED_BY_BEAM.sub("", str(error)))
    return JobFailedError(f"the pipeline failed: {type(error).__name__}: {error}")

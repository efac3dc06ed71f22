"""`--preprocess` and `--postprocess`: functions of the user's on RecordBatches."""

import importlib
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from servable_core.errors import (
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    ServableCoreError,
)

BatchFunction = Callable[[pa.RecordBatch], pa.RecordBatch]


def load_function(flag: str, reference: str | None) -> BatchFunction | None:
    """Imports `package.module:function`; None stays None.

    Raises:
        InvalidArgumentError: `reference` has another form, the module fails, or it names nothing
            callable.
        NotFoundError: The module cannot be imported, or has no such function.
    """
    if reference is None:
        return None
    function = import_function(flag, reference, "a function from RecordBatch to RecordBatch")
    return checked_function(f"{flag}={reference}", function)


def import_function(flag: str, reference: str, expected: str) -> Callable[..., Any]:
    """Imports `package.module:function`.

    Args:
        flag: Of which it is the value, for messages.
        reference: The value.
        expected: What is to be named, for messages.

    Raises:
        InvalidArgumentError: `reference` has another form, the module fails, or it names nothing
            callable.
        NotFoundError: The module cannot be imported, or has no such function.
    """
    module_name, separator, name = reference.partition(":")
    if not separator or not name or not module_name:
        raise InvalidArgumentError(f"{flag}={reference} is not of the form package.module:function")
    try:
        function = getattr(importlib.import_module(module_name), name, None)
    except ImportError as error:
        raise NotFoundError(
            f"{flag}={reference}: the module {module_name!r} cannot be imported ({error}); it must be importable here and on the workers"
        ) from error
    except (Exception, SystemExit) as error:  # a script may end the process when it is imported
        raise InvalidArgumentError(
            f"{flag}={reference}: importing the module {module_name!r} failed: {type(error).__name__}: {error}"
        ) from error
    if function is None:
        raise NotFoundError(f"{flag}={reference}: the module {module_name!r} has no {name!r}")
    if not callable(function):
        raise InvalidArgumentError(
            f"{flag}={reference} is {type(function).__name__}, not callable; name {expected}"
        )
    found: Callable[..., Any] = function
    return found


def checked_function(name: str, function: BatchFunction) -> BatchFunction:
    """Returns `function` with its promise checked at each call: as many rows, in a RecordBatch.

    Its errors say that they are its own, but for those of input and output and of memory, which may
    pass.

    Args:
        name: What to call it in messages.
        function: The user's.
    """

    def call(batch: pa.RecordBatch) -> pa.RecordBatch:
        try:
            result = function(batch)
        except (ServableCoreError, OSError, MemoryError):
            raise
        except Exception as error:
            raise InternalError(f"{name} failed: {type(error).__name__}: {error}") from error
        if not isinstance(result, pa.RecordBatch):
            raise InvalidArgumentError(
                f"{name} returned {type(result).__name__}; it must return a pyarrow.RecordBatch"
            )
        if result.num_rows != batch.num_rows:
            raise InvalidArgumentError(
                f"{name} returned {result.num_rows} rows for {batch.num_rows}; it must keep the rows and their order"
            )
        return result

    return call

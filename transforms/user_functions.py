"""`--preprocess` and `--postprocess`: functions of the user's on RecordBatches."""

import importlib
from collections.abc import Callable

import pyarrow as pa

from servable_core.errors import InvalidArgumentError, NotFoundError

BatchFunction = Callable[[pa.RecordBatch], pa.RecordBatch]


def load_function(flag: str, reference: str | None) -> BatchFunction | None:
    """Imports `package.module:function`; None stays None.

    Raises:
        InvalidArgumentError: `reference` has another form or names nothing callable.
        NotFoundError: The module cannot be imported, or has no such function.
    """
    if reference is None:
        return None
    module_name, separator, name = reference.partition(":")
    if not separator or not name or not module_name:
        raise InvalidArgumentError(f"{flag}={reference} is not of the form package.module:function")
    try:
        function = getattr(importlib.import_module(module_name), name)
    except ImportError as error:
        raise NotFoundError(
            f"{flag}={reference}: the module {module_name!r} cannot be imported ({error}); it must be importable here and on the workers"
        ) from error
    except AttributeError as error:
        raise NotFoundError(f"{flag}={reference}: {module_name} has no {name!r}") from error
    if not callable(function):
        raise InvalidArgumentError(f"{flag}={reference} is not callable")
    return _checked(f"{flag}={reference}", function)


def _checked(flag: str, function: BatchFunction) -> BatchFunction:
    def call(batch: pa.RecordBatch) -> pa.RecordBatch:
        result = function(batch)
        if not isinstance(result, pa.RecordBatch):
            raise InvalidArgumentError(
                f"{flag} returned {type(result).__name__}; it must return a pyarrow.RecordBatch"
            )
        if result.num_rows != batch.num_rows:
            raise InvalidArgumentError(
                f"{flag} returned {result.num_rows} rows for {batch.num_rows}; it must keep the rows and their order"
            )
        return result

    return call

"""The one error tree of the project.

Every class carries the canonical code an online model server would answer with:

    ServableCoreError
    ├── CancelledError            CANCELLED            the caller gave up
    ├── InvalidArgumentError      INVALID_ARGUMENT     the request can never succeed   (ValueError)
    ├── DeadlineExceededError     DEADLINE_EXCEEDED    time ran out                    (TimeoutError)
    ├── NotFoundError             NOT_FOUND            no such servable, file, column  (LookupError)
    ├── AlreadyExistsError        ALREADY_EXISTS       what should be made is there
    ├── ResourceExhaustedError    RESOURCE_EXHAUSTED   out of memory or quota
    ├── FailedPreconditionError   FAILED_PRECONDITION  wrong state for this request
    ├── AbortedError              ABORTED              the job was stopped from outside
    ├── UnavailableError          UNAVAILABLE          try again later
    ├── DataLossError             DATA_LOSS            corrupt or truncated data
    └── InternalError             INTERNAL             a bug here, or in a model

Messages name the value, the place, what was expected and what to do about it.
"""

from enum import Enum


class Code(Enum):
    """Canonical status codes, with the numbers that gRPC uses."""

    CANCELLED = 1
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15


class ServableCoreError(Exception):
    """Base of all errors raised on purpose; `str(error)` is the whole message for the user."""

    code = Code.INTERNAL


class CancelledError(ServableCoreError):
    """The work was cancelled by the one who asked for it."""

    code = Code.CANCELLED


class InvalidArgumentError(ServableCoreError, ValueError):
    """The request itself is wrong and will stay wrong."""

    code = Code.INVALID_ARGUMENT


class DeadlineExceededError(ServableCoreError, TimeoutError):
    """The time allowed for the work has passed."""

    code = Code.DEADLINE_EXCEEDED


class NotFoundError(ServableCoreError, LookupError):
    """Something named in the request does not exist."""

    code = Code.NOT_FOUND


class AlreadyExistsError(ServableCoreError):
    """Something that was to be created exists already."""

    code = Code.ALREADY_EXISTS


class ResourceExhaustedError(ServableCoreError):
    """Memory, or another bounded resource, does not suffice."""

    code = Code.RESOURCE_EXHAUSTED


class FailedPreconditionError(ServableCoreError):
    """The object asked is not in a state in which it can answer."""

    code = Code.FAILED_PRECONDITION


class AbortedError(ServableCoreError):
    """The surrounding job was stopped: by a signal, or because a sibling failed."""

    code = Code.ABORTED


class UnavailableError(ServableCoreError):
    """Not now; the same request may succeed later."""

    code = Code.UNAVAILABLE


class DataLossError(ServableCoreError):
    """Bytes are missing or do not match their checksum."""

    code = Code.DATA_LOSS


class InternalError(ServableCoreError):
    """An invariant broke, here or inside a model."""

    code = Code.INTERNAL


def error_for_code(number: int, message: str) -> ServableCoreError | None:
    """Returns the error of this tree for a canonical status number, or None if it has none."""
    for subclass in ServableCoreError.__subclasses__():
        if subclass.code.value == number:
            return subclass(message)
    return None

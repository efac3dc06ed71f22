"""How requests are batched, as plain values: what files and flags said, and which of them decides."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from servable_core.errors import InvalidArgumentError

_COUNTS = (
    "max_batch_size",
    "max_enqueued_batches",
    "num_batch_threads",
    "max_execution_batch_size",
)
# All models share one pool of threads, so one file decides about it.
_POOL_FIELDS = ("num_batch_threads", "thread_pool_name")


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchingParameters:
    """What was said of batching; None is what nobody said, and left to whoever makes the queues.

    Precedence is a chain, flags over the model's own file over the server's:

        server.for_model(own).overridden_by(flags)

    Attributes:
        max_batch_size: Most rows of one request; without splitting, of one batch too.
        batch_timeout_secs: How long a batch that is not full waits for more rows. The unit in
            files is the microsecond: `batch_timeout_micros`.
        max_enqueued_batches: Most batches waiting in one queue.
        num_batch_threads: Batches processed at the same time, over all models.
        thread_pool_name: What the batch threads are called.
        allowed_batch_sizes: Sizes to which batches are padded, increasing; empty is any size.
            They end in `max_batch_size`. With splitting they include
            `max_execution_batch_size`; those above it are never used.
        pad_variable_length_inputs: Whether requests of unequal shapes are padded to share a batch.
        enable_large_batch_splitting: Whether requests are cut at the borders of batches.
        max_execution_batch_size: Most rows of one batch with splitting; `max_batch_size` if None.
        overruled_fields: What a model's own file said of the pool of threads, which is not its own.
    """

    max_batch_size: int | None = None
    batch_timeout_secs: float | None = None
    max_enqueued_batches: int | None = None
    num_batch_threads: int | None = None
    thread_pool_name: str | None = None
    allowed_batch_sizes: tuple[int, ...] | None = None
    pad_variable_length_inputs: bool | None = None
    enable_large_batch_splitting: bool | None = None
    max_execution_batch_size: int | None = None
    overruled_fields: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in _COUNTS:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InvalidArgumentError(
                    f"{name} must be 1 or more, got {value}: leave it out for the default"
                )
        timeout_secs = self.batch_timeout_secs
        if timeout_secs is not None and not 0 <= timeout_secs < math.inf:
            raise InvalidArgumentError(
                f"batch_timeout_secs (batch_timeout_micros in files) must be finite and 0 or more, got {timeout_secs}: 0 does not wait"
            )
        _check_increasing(self.allowed_batch_sizes or ())
        if self.enable_large_batch_splitting:
            _check_splitting(self)
        else:
            _check_not_splitting(self)

    @property
    def ignored_fields(self) -> tuple[str, ...]:
        """Names of what was said in vain, for a warning."""
        if self.max_execution_batch_size is None or self.enable_large_batch_splitting:
            return self.overruled_fields
        return (*self.overruled_fields, "max_execution_batch_size")

    @property
    def execution_batch_sizes(self) -> tuple[int, ...]:
        """The `allowed_batch_sizes` that batches can have; empty is any size."""
        sizes = self.allowed_batch_sizes or ()
        most = self.max_execution_batch_size if self.enable_large_batch_splitting else None
        return sizes if most is None else tuple(size for size in sizes if size <= most)

    def for_model(self, own: "BatchingParameters") -> "BatchingParameters":
        """Returns what holds for a model with a file of its own: that file as a whole.

        What it leaves out is not taken from here. Only the pool of threads stays the server's.
        """
        overruled = tuple(name for name in _POOL_FIELDS if getattr(own, name) is not None)
        return replace(
            own,
            num_batch_threads=self.num_batch_threads,
            thread_pool_name=self.thread_pool_name,
            overruled_fields=overruled,
        )

    def overridden_by(self, given: "BatchingParameters") -> "BatchingParameters":
        """Returns these with each single value that `given` has.

        Raises:
            InvalidArgumentError: The values do not go together.
        """
        values = {field.name: getattr(given, field.name) for field in fields(given)}
        del values["overruled_fields"]
        return replace(self, **{name: value for name, value in values.items() if value is not None})


def _check_increasing(sizes: Sequence[int]) -> None:
    expected = sorted({size for size in sizes if size > 0})
    if list(sizes) != expected:
        raise InvalidArgumentError(
            f"allowed_batch_sizes must be increasing and 1 or more, got {list(sizes)}: write {expected}"
        )


def _check_not_splitting(parameters: BatchingParameters) -> None:
    sizes, most = parameters.allowed_batch_sizes, parameters.max_batch_size
    if sizes and most is not None and sizes[-1] != most:
        raise InvalidArgumentError(
            f"allowed_batch_sizes must end in max_batch_size={most}, got {list(sizes)}: {_repair(sizes, most)}, or set max_batch_size to {sizes[-1]}"
        )


def _check_splitting(parameters: BatchingParameters) -> None:
    most_of_request = parameters.max_batch_size
    most = parameters.max_execution_batch_size or most_of_request
    sizes = parameters.allowed_batch_sizes
    if most is None:
        return
    if most_of_request is not None and most > most_of_request:
        raise InvalidArgumentError(
            f"max_execution_batch_size must be at most max_batch_size={most_of_request}, got {most}: lower it, or raise max_batch_size"
        )
    # Files of the server end in max_batch_size, even so; its library wants the other.
    if sizes and (most not in sizes or sizes[-1] not in {most, most_of_request}):
        raise InvalidArgumentError(
            f"allowed_batch_sizes must end in max_execution_batch_size={most} where enable_large_batch_splitting is set, got {list(sizes)}: {_repair(sizes, most)}"
        )


def _repair(sizes: Sequence[int], most: int) -> str:
    return f"write {[*(size for size in sizes if size < most), most]}"

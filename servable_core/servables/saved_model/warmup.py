"""Runs a model before anybody waits for it, so that no request pays for what the first one costs."""

import functools
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from servable_core.errors import (
    InternalError,
    InvalidArgumentError,
    ServableCoreError,
    error_for_code,
)
from servable_core.runtime.file_system import join_path
from servable_core.servables.saved_model.bundle import SavedModelBundle
from servable_core.servables.saved_model.signature_tensors import read_signature_tensors
from servable_core.servables.saved_model.warmup_calls import WarmupCall, WarmupCalls
from servable_core.servables.saved_model.warmup_file import WARMUP_FILE, read_warmup_requests
from servable_core.servables.saved_model.warmup_synthetic import synthetic_calls

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class WarmupOptions:
    """How SavedModels are warmed up while they are loaded.

    Attributes:
        is_enabled: Whether they are at all.
        num_iterations: How often each request of a model's file is run.
        synthetic_batch_sizes: Rows of made-up batches that each signature is run with besides.
            These are zeros and empty strings; if a model refuses them, a warning is logged.
    """

    is_enabled: bool = True
    num_iterations: int = 1
    synthetic_batch_sizes: Sequence[int] = ()

    def __post_init__(self) -> None:
        if self.num_iterations < 1:
            raise InvalidArgumentError(
                f"num_iterations of a warm-up must be 1 or more, got {self.num_iterations}; set is_enabled=False for none"
            )
        if any(size < 1 for size in self.synthetic_batch_sizes):
            raise InvalidArgumentError(
                f"synthetic_batch_sizes must be 1 or more each, got {list(self.synthetic_batch_sizes)}"
            )


def warm_up(
    bundle: SavedModelBundle, model: str, path: str, directory: str, options: WarmupOptions
) -> None:
    """Runs the requests in the model's `WARMUP_FILE`, if it has one, and what the options ask for.

    Args:
        bundle: The model.
        model: Its name, for messages.
        path: Its version directory, for messages.
        directory: The same on this machine.
        options: What to run.

    Raises:
        ServableCoreError: The file is bad, or the model fails on a record; names the record.
    """
    if not options.is_enabled:
        return
    file = Path(directory) / WARMUP_FILE
    if file.is_file():
        _run_file(bundle, model, directory, join_path(path, WARMUP_FILE), options.num_iterations)
    for call in synthetic_calls(bundle.signatures, options.synthetic_batch_sizes):
        _try(bundle, model, call)


def _run_file(
    bundle: SavedModelBundle, model: str, directory: str, place: str, num_iterations: int
) -> None:
    read_tensors = functools.cache(lambda: read_signature_tensors(directory))
    calls = WarmupCalls(model, bundle.signatures, read_tensors)
    number = 0
    logs = read_warmup_requests(str(Path(directory) / WARMUP_FILE), place)
    for number, log in enumerate(logs, start=1):
        with _errors_at(f"record {number} of {place}"):
            for call in calls.of(log) * num_iterations:
                _run(bundle, call)
    _logger.info("warmed up %s with %d records of %s", model, number, place)


def _run(bundle: SavedModelBundle, call: WarmupCall) -> None:
    outputs = bundle.signatures[call.signature_name].outputs
    names = list(call.output_names) or [each.name for each in outputs]
    bundle.predict(call.signature_name, call.inputs, names)


def _try(bundle: SavedModelBundle, model: str, call: WarmupCall) -> None:
    """Runs a call that nobody asked for; that it fails says nothing against the model."""
    try:
        with _errors_at(f"signature {call.signature_name!r} with zeros"):
            _run(bundle, call)
    except ServableCoreError as error:
        _logger.warning("%s is not warmed up in full: %s", model, error)


@contextmanager
def _errors_at(place: str) -> Iterator[None]:
    """Adds the place to errors; their codes stay."""
    try:
        yield
    except ServableCoreError as error:
        text = f"{place}: {error}"
        raise error_for_code(error.code.value, text) or InternalError(text) from error

"""What TensorFlow raises while a model runs, as errors of the core."""

import re
from typing import Any

from servable_core.errors import (
    DataLossError,
    InternalError,
    InvalidArgumentError,
    ResourceExhaustedError,
    ServableCoreError,
    error_for_code,
)
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow

_PLACE_WORDS = ("Graph execution error:", "Detected at node", "<stack traces", " ", "\t")
# The allocator of GPUs says so with other codes, when a tensor is copied there.
_OUT_OF_MEMORY = ("Dst tensor is not initialized", "CUDA_ERROR_OUT_OF_MEMORY")
_NOT_COMPILABLE = re.compile(r"Detected unsupported operations when trying to compile.*?: (\w+) \(")
_STRING_OPS = {"_Arg": "an input of strings", "_Retval": "an output of strings"}


def call_error(model: str, signature_name: str, error: Exception) -> ServableCoreError:
    """Returns the error to raise when a call of a signature has raised TensorFlow's `OpError`, or MemoryError."""
    place = f"model {model}, signature {signature_name!r}"
    message = _message(error)
    if _is_out_of_memory(error):
        return ResourceExhaustedError(f"{place}: {_cause(message)}; make batches smaller")
    if found := _NOT_COMPILABLE.search(message):
        what = _STRING_OPS.get(found[1], f"operation {found[1]}")
        return InvalidArgumentError(
            f"{place}: XLA cannot compile {what}; load the model without jit_compile"
        )
    text = f"{place}: {_cause(message)}"
    return error_for_code(getattr(error, "error_code", 0), text) or InternalError(text)


def load_error(model: str, error: Exception) -> ServableCoreError:
    """Returns the error to raise when TensorFlow cannot load a model whose structure is right."""
    text = f"model {model} cannot be loaded: {_cause(_message(error))}"
    if _is_out_of_memory(error):
        return ResourceExhaustedError(f"{text}; load fewer models, or give it more memory")
    return DataLossError(f"{text}; copy or export the version again")


def _is_out_of_memory(error: Exception) -> bool:
    """Whether memory did not suffice, of this machine or of a device."""
    if isinstance(error, MemoryError | import_tensorflow().errors.ResourceExhaustedError):
        return True
    return any(words in str(error) for words in _OUT_OF_MEMORY)


def _cause(message: str) -> str:
    """Returns the line that tells the cause: TensorFlow puts the graph's place before and after it.

    What it quotes of a corrupt graph is left out where it cannot be printed.
    """
    lines = message.strip().splitlines() or ["no message"]
    causes = [line for line in lines if line.strip() and not line.startswith(_PLACE_WORDS)]
    return "".join(sign for sign in (causes or lines)[0] if sign.isprintable())


def _message(error: Any) -> str:
    return str(getattr(error, "message", error)) or type(error).__name__

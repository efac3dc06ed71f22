"""One copy of a SavedModel in memory, on one device."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from servable_core.servables.saved_model.composite_tensors import to_array
from servable_core.servables.saved_model.structure import SERVE_TAG
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow


class Replica:
    """A loaded SavedModel. Thread-safe: TensorFlow runs concurrent calls outside the GIL."""

    def __init__(self, root: Any, functions: Mapping[str, Any], device: str | None) -> None:
        """Wraps `root`, the object that `tf.saved_model.load` returned."""
        self._root = root  # owns the variables: the functions hold them weakly
        self._functions = functions
        self._device = device

    @classmethod
    def load(cls, local_path: str, device: str | None, *, jit_compile: bool) -> "Replica":
        """Loads the SavedModel at `local_path`.

        Args:
            local_path: Its directory.
            device: Where its variables are, and its operations run, unless the model says
                otherwise; None is TensorFlow's default.
            jit_compile: Whether XLA compiles it, each shape when it first comes.

        Raises:
            Exception: TensorFlow raises whatever its restore ops happen to meet.
        """
        with _on(device):
            root = import_tensorflow().saved_model.load(local_path, tags=SERVE_TAG)
            functions = dict(root.signatures.items())
            if jit_compile:
                functions = {name: _compiled(each) for name, each in functions.items()}
        return cls(root, functions, device)

    def run(
        self, signature_name: str, inputs: Mapping[str, Any], output_names: Sequence[str]
    ) -> dict[str, Any]:
        """Runs one batch and fetches these outputs: arrays, or `RaggedArray`s of ragged ones.

        Raises:
            tf.errors.OpError: TensorFlow, or the model, fails.
            MemoryError: The inputs or the outputs have no room.
        """
        outputs = self.call(signature_name, inputs)
        return {name: to_array(outputs[name]) for name in output_names}

    def call(self, signature_name: str, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Runs one batch; the outputs, tensors, are still on the device."""
        tensors = self._tensors(inputs)
        with _on(self._device):
            outputs: Mapping[str, Any] = self._functions[signature_name](**tensors)
        return outputs

    def _tensors(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        # A function takes its inputs from wherever they are. Those of a named device start on the
        # host: it may take no strings, and without a name they would pass through the first GPU.
        tf = import_tensorflow()
        with _on("CPU:0" if self._device else None):
            return {name: tf.constant(value) for name, value in inputs.items()}


def _on(device: str | None) -> AbstractContextManager[Any]:
    if device is None:
        return nullcontext()
    scope: AbstractContextManager[Any] = import_tensorflow().device(device)
    return scope


def _compiled(function: Any) -> Any:
    """Returns the signature's function compiled by XLA: traced once here, compiled once a shape."""

    def call(**tensors: Any) -> Any:
        return function(**tensors)

    _, inputs = function.structured_input_signature
    compiled = import_tensorflow().function(call, jit_compile=True, autograph=False)
    return compiled.get_concrete_function(**inputs)

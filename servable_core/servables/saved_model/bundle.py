"""A loaded SavedModel as a servable: any signature, dicts of arrays in and out."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from typing_extensions import override

from servable_core.errors import DataLossError, InternalError, ServableCoreError, error_for_code
from servable_core.servables.saved_model.structure import SERVE_TAG
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from servable_core.servables.signature import Predictor, SignatureSpec, find_signature

_PLACE_WORDS = ("Graph execution error:", "Detected at node", "<stack traces", " ", "\t")


class SavedModelBundle(Predictor):
    """A SavedModel in memory. Thread-safe: TensorFlow runs concurrent calls outside the GIL."""

    def __init__(self, model: str, root: Any, signatures: Mapping[str, SignatureSpec]) -> None:
        """Wraps `root`, the object that `tf.saved_model.load` returned for `model`."""
        self._model = model
        self._root = root  # owns the variables: the functions below hold them weakly
        self._functions = dict(root.signatures.items())
        self._signatures = dict(signatures)

    @classmethod
    def load(
        cls, model: str, local_path: str, signatures: Mapping[str, SignatureSpec]
    ) -> "SavedModelBundle":
        """Loads the SavedModel at `local_path`.

        Raises:
            DataLossError: TensorFlow cannot load it, although its structure is right.
        """
        tf = import_tensorflow()
        try:
            root = tf.saved_model.load(local_path, tags=SERVE_TAG)
        except Exception as error:  # TensorFlow raises whatever its restore ops happen to meet
            raise DataLossError(
                f"model {model} cannot be loaded: {_cause(str(error))}; copy or export the version again"
            ) from error
        return cls(model, root, signatures)

    @property
    @override
    def signatures(self) -> Mapping[str, SignatureSpec]:
        return self._signatures

    @override
    def predict(
        self, signature_name: str, inputs: Mapping[str, Any], output_names: Sequence[str]
    ) -> dict[str, np.ndarray]:
        tf = import_tensorflow()
        find_signature(self._signatures, signature_name, self._model)
        tensors = {name: tf.constant(value) for name, value in inputs.items()}
        try:
            outputs = self._functions[signature_name](**tensors)
            return {name: _to_numpy(outputs[name]) for name in output_names}
        except tf.errors.OpError as error:
            raise _model_error(self._model, signature_name, error) from error


def _to_numpy(tensor: Any) -> np.ndarray:
    array: np.ndarray = tensor.numpy()
    if array.dtype.name == "bfloat16":  # Arrow has no such type; float32 holds every value of it
        return array.astype(np.float32)
    return array


def _model_error(model: str, signature_name: str, error: Any) -> ServableCoreError:
    text = f"model {model}, signature {signature_name!r}: {_cause(str(error.message))}"
    return error_for_code(error.error_code, text) or InternalError(text)


def _cause(message: str) -> str:
    """Returns the line that tells the cause: TensorFlow puts the graph's place before and after it."""
    lines = message.strip().splitlines() or ["no message"]
    causes = [line for line in lines if line.strip() and not line.startswith(_PLACE_WORDS)]
    return (causes or lines)[0]

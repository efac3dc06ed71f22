"""A loaded SavedModel as a servable: any signature, dicts of arrays in and out."""

from collections.abc import Mapping, Sequence
from typing import Any

from typing_extensions import override

from servable_core.batching.device_lanes import SharedDeviceLanes
from servable_core.errors import InvalidArgumentError
from servable_core.servables.saved_model.composite_tensors import to_parts
from servable_core.servables.saved_model.devices import check_devices, resolve_devices
from servable_core.servables.saved_model.model_errors import call_error, load_error
from servable_core.servables.saved_model.options import SavedModelOptions
from servable_core.servables.saved_model.replica import Replica
from servable_core.servables.saved_model.tensorflow_options import is_mixed_precision
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from servable_core.servables.signature import Predictor, SignatureSpec, find_signature

_DEFAULT_OPTIONS = SavedModelOptions()


class SavedModelBundle(Predictor):
    """A SavedModel in memory, on one device or several. Thread-safe.

    Each call runs on the replica that has the fewest in flight.

    Attributes:
        load_secs: What its load took, with the copy of remote files, without the warm-up.
        warmup_secs: What its warm-up took.
    """

    def __init__(
        self, model: str, replicas: Sequence[Replica], signatures: Mapping[str, SignatureSpec]
    ) -> None:
        """Wraps the replicas, one or more, of `model`."""
        self._model = model
        self._replicas = tuple(replicas)
        self._lanes = SharedDeviceLanes(len(self._replicas))
        self._signatures = dict(signatures)
        # Set by the loader, before anybody else has the bundle.
        self.load_secs = 0.0
        self.warmup_secs = 0.0

    @classmethod
    def load(
        cls,
        model: str,
        local_path: str,
        signatures: Mapping[str, SignatureSpec],
        options: SavedModelOptions = _DEFAULT_OPTIONS,
    ) -> "SavedModelBundle":
        """Loads the SavedModel at `local_path`, one replica after the other.

        Raises:
            InvalidArgumentError: The options name a device that does not exist, or do not go
                together with those of the process.
            ResourceExhaustedError: There is not enough memory.
            DataLossError: TensorFlow cannot load it, although its structure is right.
        """
        devices = resolve_devices(options.devices)
        check_devices(devices)
        _check_precision(model, options)
        try:
            replicas = [
                Replica.load(local_path, device, jit_compile=options.jit_compile)
                for device in devices or (None,)
            ]
        except Exception as error:  # TensorFlow raises whatever its restore ops happen to meet
            raise load_error(model, error) from error
        return cls(model, replicas, signatures)

    @property
    @override
    def signatures(self) -> Mapping[str, SignatureSpec]:
        return self._signatures

    @override
    def predict(
        self, signature_name: str, inputs: Mapping[str, Any], output_names: Sequence[str]
    ) -> dict[str, Any]:
        signature = find_signature(self._signatures, signature_name, self._model)
        inputs = to_parts(signature, inputs)
        with self._lanes.acquired() as lane:
            try:
                return self._replicas[lane].run(signature_name, inputs, output_names)
            except (import_tensorflow().errors.OpError, MemoryError) as error:
                raise call_error(self._model, signature_name, error) from error

    def by_replica(self) -> list["SavedModelBundle"]:
        """Returns a view of each replica, as a model on one device; for warm-ups."""
        return [SavedModelBundle(self._model, [each], self._signatures) for each in self._replicas]


def _check_precision(model: str, options: SavedModelOptions) -> None:
    if options.jit_compile and is_mixed_precision():
        raise InvalidArgumentError(
            f"model {model}: mixed_precision has no effect on what jit_compile compiles: choose one of them"
        )

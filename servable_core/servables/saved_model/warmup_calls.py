"""What logged requests ask of a model: signatures, with arrays for their inputs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from servable_core.errors import InvalidArgumentError
from servable_core.servables.saved_model.prediction_log import to_array
from servable_core.servables.saved_model.signature_tensors import SignatureTensors
from servable_core.servables.signature import SignatureSpec, find_signature

_DEFAULT_SIGNATURE = "serving_default"
_INFERENCE_METHODS = ("tensorflow/serving/classify", "tensorflow/serving/regress")
_REMEDY = "write the record again, with one of them in model_spec.signature_name"


@dataclass(frozen=True, kw_only=True, slots=True)
class WarmupCall:
    """One call of a model.

    Attributes:
        signature_name: The signature to run.
        inputs: What `Predictor.predict` takes, or arrays for all parts of ragged and sparse inputs.
        output_names: Which outputs to fetch; empty for all.
    """

    signature_name: str
    inputs: Mapping[str, Any]
    output_names: Sequence[str] = ()


class WarmupCalls:
    """Makes calls of the requests that were logged, for one model; not thread-safe.

    Names and versions of models in requests are ignored: all are for this one.

    Args:
        model: Name of the model, for messages.
        signatures: Its signatures by name.
        read_tensors: Reads the tensors behind the signatures. Called when a request needs them.
    """

    def __init__(
        self,
        model: str,
        signatures: Mapping[str, SignatureSpec],
        read_tensors: Callable[[], Mapping[str, SignatureTensors]],
    ) -> None:
        self._model = model
        self._signatures = signatures
        self._read_tensors = read_tensors

    def of(self, log: Any) -> list[WarmupCall]:
        """Returns the calls that a `PredictionLog` asks for: none if it logs nothing.

        Raises:
            InvalidArgumentError: The request does not suit the model, or is of a kind that cannot
                be repeated.
            NotFoundError: The model lacks the signature.
        """
        match log.WhichOneof("log_type"):
            case None:
                return []
            case "predict_log":
                calls = [_predict_call(log.predict_log.request)]
            case "classify_log" | "regress_log" as kind:
                request = getattr(log, kind).request
                calls = self._examples_calls([request], request)
            case "multi_inference_log":
                request = log.multi_inference_log.request
                calls = self._examples_calls(_checked_tasks(request), request)
            case "session_run_log":
                calls = [self._session_run_call(log.session_run_log.request)]
            case kind:
                raise InvalidArgumentError(f"{kind} is not supported; leave the record out")
        for call in calls:
            self._check(call)
        return calls

    def _examples_calls(self, asked: Sequence[Any], request: Any) -> list[WarmupCall]:
        """Returns a call for each that has a `model_spec`, all with the request's Examples."""
        examples = np.array(_serialized_examples(request.input), object)
        names = [_signature_name(each) for each in asked]
        return [
            WarmupCall(signature_name=name, inputs={self._examples_input(name): examples})
            for name in names
        ]

    def _examples_input(self, signature_name: str) -> str:
        inputs = self._find(signature_name).inputs
        if len(inputs) != 1 or inputs[0].dtype != "string" or not inputs[0].is_dense:
            raise InvalidArgumentError(
                f"Examples need a signature with one input, of strings; {signature_name!r} takes {_listed(map(str, inputs))}"
            )
        return inputs[0].name

    def _session_run_call(self, request: Any) -> WarmupCall:
        feeds = {each.name: to_array(each.name, each.tensor) for each in request.feed}
        if request.target:
            raise InvalidArgumentError(
                f"session_run with targets ({_listed(request.target)}) is not supported: fetch outputs of a signature instead"
            )
        if request.tensor_name_is_alias:
            name = _signature_name(request)
            return WarmupCall(signature_name=name, inputs=feeds, output_names=request.fetch)
        for name, tensors in self._read_tensors().items():
            call = _session_run_of(name, tensors, feeds, request.fetch)
            if call is not None:
                return call
        raise InvalidArgumentError(
            f"no signature of {self._model} takes the tensors {_listed(feeds)} and returns {_listed(request.fetch)}: feed and fetch what one signature does"
        )

    def _check(self, call: WarmupCall) -> None:
        spec = self._find(call.signature_name)
        expected = {part.name for each in spec.inputs for part in each.parts or (each,)}
        if call.inputs.keys() not in (expected, {each.name for each in spec.inputs}):
            raise InvalidArgumentError(
                f"signature {spec.name!r} takes {_listed(expected)}, got {_listed(call.inputs)}"
            )
        outputs = {each.name for each in spec.outputs}
        if not outputs.issuperset(call.output_names):
            raise InvalidArgumentError(
                f"signature {spec.name!r} returns {_listed(outputs)}, asked for {_listed(call.output_names)}"
            )

    def _find(self, signature_name: str) -> SignatureSpec:
        return find_signature(self._signatures, signature_name, self._model, remedy=_REMEDY)


def _predict_call(request: Any) -> WarmupCall:
    return WarmupCall(
        signature_name=_signature_name(request),
        inputs={name: to_array(name, tensor) for name, tensor in request.inputs.items()},
        output_names=request.output_filter,
    )


def _signature_name(request: Any) -> str:
    return request.model_spec.signature_name or _DEFAULT_SIGNATURE


def _checked_tasks(request: Any) -> Sequence[Any]:
    for task in request.tasks:
        if task.method_name not in _INFERENCE_METHODS:
            raise InvalidArgumentError(
                f"method_name of a task must be one of {_listed(_INFERENCE_METHODS)}, got {task.method_name!r}"
            )
    tasks: Sequence[Any] = request.tasks
    return tasks


def _serialized_examples(request_input: Any) -> list[bytes]:
    examples = _examples(request_input)
    if not examples:
        raise InvalidArgumentError("the request has no Examples; give one at least")
    return [each.SerializeToString() for each in examples]


def _examples(request_input: Any) -> Sequence[Any]:
    """Returns the Examples of a request, each with the context that they share."""
    if request_input.WhichOneof("kind") == "example_list_with_context":
        shared = request_input.example_list_with_context
        return [_with_context(each, shared.context) for each in shared.examples]
    examples: Sequence[Any] = request_input.example_list.examples
    return examples


def _with_context(example: Any, context: Any) -> Any:
    """Returns the Example with the context's features, of which its own take precedence."""
    merged = type(example)()
    merged.CopyFrom(context)
    merged.MergeFrom(example)
    return merged


def _session_run_of(
    name: str, tensors: SignatureTensors, feeds: Mapping[str, np.ndarray], fetch: Sequence[str]
) -> WarmupCall | None:
    """Returns the signature's call with these feeds and fetches, or None if it has others."""
    fed = {_tensor_name(each): value for each, value in feeds.items()}
    fetched = [_tensor_name(each) for each in fetch]
    if fed.keys() != tensors.inputs.keys() or not tensors.outputs.keys() >= set(fetched):
        return None
    return WarmupCall(
        signature_name=name,
        inputs={tensors.inputs[each]: value for each, value in fed.items()},
        output_names=[tensors.outputs[each] for each in fetched],
    )


def _tensor_name(name: str) -> str:
    """Returns the tensor's full name: that of an operation stands for its first output."""
    return name if ":" in name else f"{name}:0"


def _listed(names: Any) -> str:
    return ", ".join(sorted(names)) or "nothing"

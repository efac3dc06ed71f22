"""The messages in which model servers log requests, and in which they read requests for warm-up.

They are those of `tensorflow-serving-api`. That imports TensorFlow, so it waits for the first use:

    log = predict_log({"x": np.zeros((1, 3))}, signature_name="serving_default")
    record = log.SerializeToString()
    parse_prediction_log(record).predict_log.request.inputs["x"]      a TensorProto
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from servable_core.errors import InvalidArgumentError
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow


def parse_prediction_log(record: bytes) -> Any:
    """Returns the `PredictionLog` that is serialised in `record`.

    Raises:
        InvalidArgumentError: It is something else.
    """
    try:
        return _message_class().FromString(record)
    except DecodeError as error:
        raise InvalidArgumentError(
            f"{len(record)} bytes are no PredictionLog: {error}; write the record again"
        ) from error


def predict_log(
    inputs: Mapping[str, np.ndarray],
    *,
    signature_name: str,
    outputs: Mapping[str, np.ndarray] | None = None,
    model_name: str = "",
    version: int | None = None,
) -> Any:
    """Returns the `PredictionLog` of one request.

    Args:
        inputs: Arrays by the signature's input name, of its dtypes, rows along the first dimension.
        signature_name: The signature that was asked.
        outputs: What it answered; None for a request alone.
        model_name: Name of the model; warm-up does not need it.
        version: Its version.
    """
    log = _message_class()()
    request = log.predict_log.request
    request.model_spec.name = model_name
    request.model_spec.signature_name = signature_name
    if version is not None:
        request.model_spec.version.value = version
    _fill(request.inputs, inputs)
    if outputs is not None:
        response = log.predict_log.response
        response.model_spec.CopyFrom(request.model_spec)
        _fill(response.outputs, outputs)
    return log


def to_array(name: str, tensor: Any) -> np.ndarray:
    """Returns the values of a TensorProto; strings are object arrays of bytes.

    Args:
        name: What messages call it.
        tensor: The TensorProto.

    Raises:
        InvalidArgumentError: There is no such dtype, or the values do not fill the shape.
    """
    try:
        array: np.ndarray = import_tensorflow().make_ndarray(tensor)
    except (TypeError, ValueError) as error:
        raise InvalidArgumentError(
            f"tensor {name!r} is not what its dtype and shape say: {error}; write the record again"
        ) from error
    return array


def _fill(tensors: Any, arrays: Mapping[str, np.ndarray]) -> None:
    tf = import_tensorflow()
    for name, array in arrays.items():
        tensors[name].CopyFrom(tf.make_tensor_proto(array))


def _message_class() -> Any:
    import_tensorflow()  # first: the protos would import it with all its noise
    from tensorflow_serving.apis import prediction_log_pb2

    return prediction_log_pb2.PredictionLog

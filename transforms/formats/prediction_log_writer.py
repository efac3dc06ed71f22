"""TFRecord output of PredictionLogs, as a model server logs requests and reads them for warm-up.

Each row is a `predict_log` of its own, as if it had been asked alone: tensors have 1 for their first
dimension, rows of different lengths their own. A file with requests, and of 1000 rows at most, is a
`tf_serving_warmup_requests` file as it is. Keys and pass-through columns have no place in a log.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from servable_core.batching.ragged_array import RaggedArray
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from transforms.formats.message_bytes import (
    EMPTY,
    ByteRows,
    constant,
    delimited,
    of_slices,
    repeated,
    varint_field,
)
from transforms.formats.part_writer import PartWriter, RowTensors
from transforms.formats.stream_writer import StreamWriter
from transforms.formats.tfrecord_writer import frames
from transforms.logged_inputs import PartRows
from transforms.storage import DigestingSink

# Field numbers of prediction_log.proto, predict.proto and tensor.proto.
_PREDICT_LOG = 6
_REQUEST, _RESPONSE = 1, 2
_REQUEST_INPUTS, _RESPONSE_OUTPUTS = 2, 1
_KEY, _VALUE = 1, 2
_DTYPE, _SHAPE, _CONTENT, _STRING_VALUES = 1, 2, 4, 8
_DIMENSION, _DIMENSION_SIZE = 2, 1


@dataclass(frozen=True, kw_only=True, slots=True)
class LoggedModel:
    """Who was asked.

    Attributes:
        name: Servable name.
        version: Its version.
        signature_name: The signature.
        output_filter: The outputs that were asked for; empty for all.
    """

    name: str
    version: int
    signature_name: str
    output_filter: Sequence[str] = ()


def prediction_log_writer(sink: DigestingSink, model: LoggedModel) -> PartWriter:
    """Returns a writer of a PredictionLog for each row.

    Its `write` takes what the log holds from `tensors`: the response of the outputs, and, unless there
    are none, the request of the inputs.
    """
    metadata, request, response = _messages(model)

    def encode(columns: pa.RecordBatch, tensors: RowTensors) -> Iterable[Any]:
        asked = constant(request) + _tensor_map(_REQUEST_INPUTS, tensors.inputs)
        answered = constant(response) + _tensor_map(_RESPONSE_OUTPUTS, tensors.outputs)
        log = delimited(_REQUEST, asked) + delimited(_RESPONSE, answered)
        records = constant(metadata) + delimited(_PREDICT_LOG, log)
        return [frames(records.joined(columns.num_rows))]

    return StreamWriter(sink, encode)


def _messages(model: LoggedModel) -> tuple[bytes, bytes, bytes]:
    """Returns what all rows share: a log, a request and a response without tensors, serialized."""
    import_tensorflow()  # first: the protos would import it with all its noise
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    request = predict_pb2.PredictRequest(output_filter=model.output_filter)
    request.model_spec.name = model.name
    request.model_spec.version.value = model.version
    request.model_spec.signature_name = model.signature_name
    response = predict_pb2.PredictResponse(model_spec=request.model_spec)
    log = prediction_log_pb2.PredictionLog()
    log.log_metadata.model_spec.CopyFrom(request.model_spec)
    return tuple(each.SerializeToString(deterministic=True) for each in (log, request, response))


def _tensor_map(number: int, tensors: Mapping[str, Any]) -> ByteRows:
    entries = EMPTY
    for name, tensor in tensors.items():
        key = delimited(_KEY, constant(name.encode()))
        entries += delimited(number, key + delimited(_VALUE, _tensor_proto(tensor)))
    return entries


def _tensor_proto(tensor: Any) -> ByteRows:
    """Returns each row of an array, a RaggedArray, PartRows or a TensorFlow tensor as a TensorProto."""
    if isinstance(tensor, PartRows):
        values, starts, inner = (
            tensor.rows.values,
            tensor.rows.offsets,
            tensor.rows.values.shape[1:],
        )
        shape = _dimension(tensor.rows.lengths)
    elif isinstance(tensor, RaggedArray):
        values, starts, inner = tensor.values, tensor.offsets, tensor.values.shape[1:]
        shape = _dimension(1) + _dimension(tensor.lengths)
    else:
        values = np.asarray(tensor.numpy() if hasattr(tensor, "numpy") else tensor)
        starts, inner = np.arange(len(values) + 1, dtype=np.int64), values.shape[1:]
        shape = _dimension(1)
    for size in inner:
        shape += _dimension(size)
    head = varint_field(_DTYPE, _dtype_number(values.dtype)) + delimited(_SHAPE, shape)
    return head + _content(values, starts, math.prod(inner))


def _dimension(size: int | np.ndarray) -> ByteRows:
    return delimited(_DIMENSION, varint_field(_DIMENSION_SIZE, size))


def _dtype_number(dtype: np.dtype) -> int:
    tf = import_tensorflow()
    return int((tf.string if dtype.kind in "OSU" else tf.as_dtype(dtype)).as_datatype_enum)


def _content(values: np.ndarray, starts: np.ndarray, inner_size: int) -> ByteRows:
    if values.dtype.kind in "OSU":
        texts = pa.array(values.reshape(-1).astype(object), pa.large_binary())
        return repeated(_STRING_VALUES, texts, starts * inner_size)
    values = np.ascontiguousarray(values)
    octets = values.reshape(-1).view(np.uint8)
    return delimited(_CONTENT, of_slices(octets, starts * (inner_size * values.itemsize)))

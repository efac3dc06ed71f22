"""Reads the text proto `BatchingParameters`: the model server's own file, and those of its models.

    max_batch_size { value: 128 }
    batch_timeout_micros { value: 5000 }
    allowed_batch_sizes: [32, 128]

The server's file is named by a flag. A model's own lies in its version directory.
"""

from functools import cache
from typing import Any

from servable_core.config.batching_parameters import BatchingParameters
from servable_core.config.text_proto import parse_text_proto, read_text
from servable_core.errors import InvalidArgumentError, NotFoundError
from servable_core.runtime.file_system import FileSystem, LocalFileSystem, join_path

MODEL_FILE_NAME = "batching_params.pbtxt"

# The message, which `tensorflow-serving-api` does not ship. It is of proto2, unlike the server's, to
# tell a flag that is false from one that is not given.
_DESCRIPTOR = """
name: "batching_parameters.proto" package: "servable_core" syntax: "proto2"
dependency: "google/protobuf/wrappers.proto"
message_type {
  name: "BatchingParameters"
  field { number: 1 name: "max_batch_size" type_name: ".google.protobuf.Int64Value" }
  field { number: 2 name: "batch_timeout_micros" type_name: ".google.protobuf.Int64Value" }
  field { number: 3 name: "max_enqueued_batches" type_name: ".google.protobuf.Int64Value" }
  field { number: 4 name: "num_batch_threads" type_name: ".google.protobuf.Int64Value" }
  field { number: 5 name: "thread_pool_name" type_name: ".google.protobuf.StringValue" }
  field { number: 6 name: "allowed_batch_sizes" type: TYPE_INT64 label: LABEL_REPEATED }
  field { number: 7 name: "pad_variable_length_inputs" type: TYPE_BOOL }
  field { number: 8 name: "enable_large_batch_splitting" type_name: ".google.protobuf.BoolValue" }
  field { number: 9 name: "max_execution_batch_size" type_name: ".google.protobuf.Int64Value" }
}
"""
_MICROS_PER_SEC = 1e6


def read_model_batching_parameters(
    version_directory: str, *, file_system: FileSystem | None = None
) -> BatchingParameters | None:
    """Reads a model's own file; None where it has none, and is not to be batched.

    Raises:
        InvalidArgumentError: As `parse_batching_parameters`, or it is not UTF-8.
    """
    try:
        return read_batching_parameters(
            join_path(version_directory, MODEL_FILE_NAME), file_system=file_system
        )
    except NotFoundError:
        return None


def read_batching_parameters(
    path: str, *, file_system: FileSystem | None = None
) -> BatchingParameters:
    """Reads the file at `path`.

    Raises:
        NotFoundError: There is no such file.
        InvalidArgumentError: As `parse_batching_parameters`, or it is not UTF-8.
    """
    text = read_text(path, file_system or LocalFileSystem(), what="batching parameters file")
    return parse_batching_parameters(text, source=path)


def parse_batching_parameters(text: str, *, source: str) -> BatchingParameters:
    """Returns what a `BatchingParameters` text proto says.

    Args:
        text: The text proto; an empty one says nothing.
        source: File name, for messages.

    Raises:
        InvalidArgumentError: It does not parse, or its values do not go together.
    """
    try:
        proto = parse_text_proto(text, _message_class()(), source)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{error}{_hint(str(error))}") from error
    try:
        return _to_parameters(proto)
    except InvalidArgumentError as error:
        raise InvalidArgumentError(f"{source}: {error}") from error


def _to_parameters(proto: Any) -> BatchingParameters:
    values = {field.name: _plain(value) for field, value in proto.ListFields()}
    if "batch_timeout_micros" in values:
        values["batch_timeout_secs"] = values.pop("batch_timeout_micros") / _MICROS_PER_SEC
    if "allowed_batch_sizes" in values:
        values["allowed_batch_sizes"] = tuple(values["allowed_batch_sizes"])
    return BatchingParameters(**values)


def _plain(value: Any) -> Any:
    return getattr(value, "value", value)  # out of its wrapper, if it is in one


def _hint(problem: str) -> str:
    if not problem.endswith(('Expected "{".', 'Expected ":".')):
        return ""
    return " Write max_batch_size { value: 128 }, and likewise all others but allowed_batch_sizes: 128 and pad_variable_length_inputs: true"


@cache
def _message_class() -> Any:
    from google.protobuf import (
        descriptor_pb2,
        descriptor_pool,
        message_factory,
        text_format,
        wrappers_pb2,
    )

    file = text_format.Parse(_DESCRIPTOR, descriptor_pb2.FileDescriptorProto())
    pool = descriptor_pool.DescriptorPool()  # its own: others may know the server's message
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    descriptor = pool.FindMessageTypeByName("servable_core.BatchingParameters")
    return message_factory.GetMessageClass(descriptor)

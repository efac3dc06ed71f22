"""Checks a SavedModel and reads its signatures through the file system, without loading it."""

from collections.abc import Iterable, Sequence
from typing import Any

from servable_core.errors import DataLossError, NotFoundError
from servable_core.runtime.file_system import FileInfo, FileSystem
from servable_core.servables.saved_model.signature_specs import signature_spec
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from servable_core.servables.saved_model.variables_index import required_sizes
from servable_core.servables.signature import SignatureSpec

GRAPH_FILE = "saved_model.pb"
SERVE_TAG = "serve"
_VARIABLES_INDEX = "variables/variables.index"
_DATA_FILE = "variables/variables.data-{:05d}-of-{:05d}"
_VARIABLE_OPS = frozenset({"VarHandleOp", "Variable", "VariableV2"})
_INTERNAL_PREFIX = "__saved_model_"  # initialisation and training ops, not for requests


def read_signatures(
    path: str, files: Sequence[FileInfo], file_system: FileSystem
) -> dict[str, SignatureSpec]:
    """Checks the SavedModel at `path` and returns its signatures by name.

    Args:
        path: The version directory, local or a URI.
        files: Every file below it.
        file_system: Reads them. Only the graph and the variables' index are read.

    Raises:
        NotFoundError: There is no saved_model.pb, or no graph for serving in it.
        DataLossError: The graph does not parse, or variables are missing or too short.
    """
    graph = read_serving_graph(path, files, file_system)
    _check_variables(path, files, file_system, needs_variables=_uses_variables(graph))
    names = [name for name in sorted(graph.signature_def) if not name.startswith(_INTERNAL_PREFIX)]
    try:
        return {name: signature_spec(name, graph, graph.signature_def[name]) for name in names}
    except (TypeError, ValueError) as error:  # a type that there is not, or one of other content
        raise DataLossError(
            f"{path}/{GRAPH_FILE} is corrupt: its signatures do not parse; copy or export the version again"
        ) from error


def relative_paths(path: str, files: Iterable[FileInfo]) -> dict[str, FileInfo]:
    """Returns the files keyed by their path below `path`."""
    prefix = path.rstrip("/") + "/"
    return {each.path.removeprefix(prefix): each for each in files}


def read_serving_graph(path: str, files: Sequence[FileInfo], file_system: FileSystem) -> Any:
    """Returns the MetaGraphDef for serving of the SavedModel at `path`.

    Raises:
        NotFoundError: There is no saved_model.pb, or no graph for serving in it.
        DataLossError: It does not parse.
    """
    import_tensorflow()
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    if GRAPH_FILE not in relative_paths(path, files):
        raise NotFoundError(
            f"{path} is not a complete SavedModel: it has no {GRAPH_FILE} (half-copied, or not a model directory?); copy or export the version again"
        )
    with file_system.open(f"{path}/{GRAPH_FILE}") as stream:
        content = stream.read()
    saved_model = saved_model_pb2.SavedModel()
    try:
        saved_model.ParseFromString(content)
    except DecodeError as error:
        raise DataLossError(
            f"{path}/{GRAPH_FILE} is corrupt: it does not parse as a SavedModel ({len(content)} bytes); copy or export the version again"
        ) from error
    for meta_graph in saved_model.meta_graphs:
        if SERVE_TAG in meta_graph.meta_info_def.tags:
            return meta_graph
    raise NotFoundError(
        f"{path}/{GRAPH_FILE} holds no graph with the tag {SERVE_TAG!r}: empty, truncated, or not exported for serving; copy or export the version again"
    )


def _uses_variables(meta_graph: Any) -> bool:
    functions = meta_graph.graph_def.library.function
    node_lists = [meta_graph.graph_def.node, *(function.node_def for function in functions)]
    return any(node.op in _VARIABLE_OPS for nodes in node_lists for node in nodes)


def _check_variables(
    path: str, files: Sequence[FileInfo], file_system: FileSystem, *, needs_variables: bool
) -> None:
    by_name = relative_paths(path, files)
    if _VARIABLES_INDEX not in by_name:
        if needs_variables:
            raise DataLossError(
                f"{path} is half-copied: the graph has variables, but {_VARIABLES_INDEX} is missing; copy the version again"
            )
        return
    with file_system.open(f"{path}/{_VARIABLES_INDEX}") as stream:
        try:
            required = required_sizes(stream.read())
        except ValueError as error:
            raise DataLossError(
                f"{path}/{_VARIABLES_INDEX} is corrupt; copy or export the version again"
            ) from error
    names = [_DATA_FILE.format(number, len(required)) for number in range(len(required))]
    missing = [name for name in names if name not in by_name]
    if missing:
        raise DataLossError(
            f"{path} is half-copied: {missing[0]} is missing ({len(names) - len(missing)} of {len(names)} variable files are there); copy the version again"
        )
    for name, size_bytes in zip(names, required, strict=True):
        if by_name[name].size_bytes < size_bytes:
            raise DataLossError(
                f"{path}/{name} is truncated: it holds {by_name[name].size_bytes} bytes, its variables need {size_bytes}; copy the version again"
            )

"""What a SavedModel's graph says of a signature: its inputs and outputs, ragged and sparse ones whole."""

from collections.abc import Iterable, Sequence
from typing import Any

from servable_core.servables.saved_model.exported_arguments import (
    Argument,
    RaggedType,
    is_ragged,
    is_sparse,
    read_arguments,
)
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from servable_core.servables.signature import Encoding, SignatureSpec, TensorSpec

_COMPOSITE = "composite"


def signature_spec(name: str, graph: Any, signature: Any) -> SignatureSpec:
    """Returns the signature of a MetaGraphDef that is called `name`."""
    outputs = [_output(key, info) for key, info in signature.outputs.items()]
    return SignatureSpec(
        name=name, inputs=_sorted(_inputs(graph, signature)), outputs=_sorted(outputs)
    )


def _sorted(specs: Iterable[TensorSpec]) -> tuple[TensorSpec, ...]:
    return tuple(sorted(specs, key=lambda each: each.name))


def _inputs(graph: Any, signature: Any) -> list[TensorSpec]:
    infos = signature.inputs
    if any(info.WhichOneof("encoding") not in ("name", None) for info in infos.values()):
        return [_session_input(name, info) for name, info in infos.items()]
    return [_argument(each, infos) for each in read_arguments(graph, signature)]


def _argument(argument: Argument, infos: Any) -> TensorSpec:
    parts = tuple(_dense(name, infos[name]) for name in argument.inputs)
    name = parts[0].name
    if not argument.is_told:
        return TensorSpec(
            name=name, dtype=_COMPOSITE, shape=parts[0].shape, encoding=Encoding.UNTOLD
        )
    if argument.type_spec is None:
        return parts[0]
    return _composite(name, argument.type_spec, parts)


def _session_input(name: str, info: Any) -> TensorSpec:
    """Returns an input of a session's graph, whose parts get their names when it is loaded."""
    match info.WhichOneof("encoding"):
        case "coo_sparse":
            return _sparse(name, info.dtype, info.tensor_shape, _session_parts(name, info))
        case "composite_tensor":
            components = info.composite_tensor.components
            parts = tuple(
                _dense(f"{name}_component_{number}", each) for number, each in enumerate(components)
            )
            return _composite(name, info.composite_tensor.type_spec, parts)
    return _dense(name, info)


def _session_parts(name: str, info: Any) -> tuple[TensorSpec, ...]:
    return (
        TensorSpec(name=f"{name}_indices", dtype="int64", shape=(None, 2)),
        TensorSpec(name=f"{name}_values", dtype=_dtype(info.dtype), shape=(None,)),
        TensorSpec(name=f"{name}_dense_shape", dtype="int64", shape=(2,)),
    )


def _output(name: str, info: Any) -> TensorSpec:
    match info.WhichOneof("encoding"):
        case "coo_sparse":
            return _sparse(name, info.dtype, info.tensor_shape, ())
        case "composite_tensor":
            return _composite(name, info.composite_tensor.type_spec, ())
    return _dense(name, info)


def _composite(name: str, type_spec: Any, parts: Sequence[TensorSpec]) -> TensorSpec:
    if is_ragged(type_spec):
        return _ragged(name, RaggedType.of(type_spec), parts)
    if is_sparse(type_spec):
        shape, dtype = type_spec.type_state.tuple_value.values
        return _sparse(name, dtype.tensor_dtype_value, shape.tensor_shape_value, parts)
    return TensorSpec(name=name, dtype=_COMPOSITE, shape=None)


def _ragged(name: str, ragged: RaggedType, parts: Sequence[TensorSpec]) -> TensorSpec:
    shape = _shape(ragged.shape)
    has_lists = ragged.ragged_rank == 1 and (shape is None or None not in shape[2:])
    return TensorSpec(
        name=name,
        dtype=_dtype(ragged.dtype) if has_lists else _COMPOSITE,
        shape=shape,
        encoding=Encoding.RAGGED,
        parts=tuple(parts),
    )


def _sparse(name: str, dtype: int, shape_proto: Any, parts: Sequence[TensorSpec]) -> TensorSpec:
    shape = _shape(shape_proto)
    has_lists = shape is None or len(shape) == 2
    return TensorSpec(
        name=name,
        dtype=_dtype(dtype) if has_lists else _COMPOSITE,
        shape=shape,
        encoding=Encoding.SPARSE,
        parts=tuple(parts),
    )


def _dense(name: str, info: Any) -> TensorSpec:
    return TensorSpec(name=name, dtype=_dtype(info.dtype), shape=_shape(info.tensor_shape))


def _dtype(number: int) -> str:
    name: str = import_tensorflow().dtypes.as_dtype(number).name
    return name


def _shape(shape: Any) -> tuple[int | None, ...] | None:
    if shape.unknown_rank:
        return None
    return tuple(None if dim.size < 0 else dim.size for dim in shape.dim)

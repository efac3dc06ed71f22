"""The arguments of an exported function, and which of them its signature takes in parts.

A signature of TensorFlow 2 has an input for each part of a ragged or sparse argument, and does not
say so: `x` are the values, `x_1` the row splits. The functions that are saved beside it do say.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby, islice
from typing import Any

from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow

_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
_ADDED_TO_NAME = re.compile(r"^__(?:inference|forward)_|_\d+$")


@dataclass(frozen=True, kw_only=True, slots=True)
class Argument:
    """One tensor among a function's arguments, dense, ragged or sparse.

    Attributes:
        inputs: The signature's inputs that it is fed by: its own, or its parts in order.
        type_spec: The `TypeSpecProto` of one that is fed in parts; None if it is dense.
        is_told: Whether the model tells. If not, its input may be a part of a ragged tensor, too.
    """

    inputs: tuple[str, ...]
    type_spec: Any = None
    is_told: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class RaggedType:
    """What a `TypeSpecProto` says of a ragged tensor.

    Attributes:
        shape: Its `TensorShapeProto`.
        dtype: Enum of its values' type.
        ragged_rank: How many of its dimensions vary; of each there are splits.
        splits_dtype: Enum of their type.
    """

    shape: Any
    dtype: int
    ragged_rank: int
    splits_dtype: int

    @classmethod
    def of(cls, type_spec: Any) -> "RaggedType":
        """Reads the state as TensorFlow writes it, in this order."""
        shape, dtype, rank, splits = type_spec.type_state.tuple_value.values
        return cls(
            shape=shape.tensor_shape_value,
            dtype=dtype.tensor_dtype_value,
            ragged_rank=rank.int64_value,
            splits_dtype=splits.tensor_dtype_value,
        )


def is_ragged(type_spec: Any) -> bool:
    """Whether a `TypeSpecProto` is that of a ragged tensor."""
    return bool(type_spec.type_spec_class == type_spec.RAGGED_TENSOR_SPEC)


def is_sparse(type_spec: Any) -> bool:
    """Whether a `TypeSpecProto` is that of a sparse tensor."""
    return bool(type_spec.type_spec_class == type_spec.SPARSE_TENSOR_SPEC)


def read_arguments(graph: Any, signature: Any) -> list[Argument]:
    """Returns what a signature's inputs are parts of, all inputs once.

    Args:
        graph: The MetaGraphDef of a SavedModel.
        signature: One of its SignatureDefs.
    """
    call = _find_call(graph, signature)
    if call is None:  # a graph of a session, or of an unknown exporter
        return [Argument(inputs=(name,)) for name in signature.inputs]
    dtypes = [signature.inputs[name].dtype for name in call.inputs]
    type_specs = _saved_type_specs(graph, call.function.signature.name, dtypes)
    if type_specs is None:
        return _untold_arguments(call, signature)
    inputs = iter(call.inputs)
    return [
        Argument(inputs=tuple(islice(inputs, len(_part_dtypes(each)))), type_spec=_composite(each))
        for each in type_specs
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Call:
    """What a signature runs.

    Attributes:
        function: The FunctionDef of the exported function.
        inputs: The signature's inputs in the order of the function's arguments.
    """

    function: Any
    inputs: tuple[str, ...]


def _find_call(graph: Any, signature: Any) -> _Call | None:
    """Returns the function that the signature's wrapper calls, None if there is no such wrapper."""
    library = {each.signature.name: each for each in graph.graph_def.library.function}
    names = {_node(info.name): name for name, info in signature.inputs.items()}
    for node in graph.graph_def.node:
        if node.op in _CALLS and names and names.keys() <= set(map(_node, node.input)):
            wrapper = library.get(node.attr["f"].func.name)
            fed = [names.get(_node(each)) for each in node.input]
            return None if wrapper is None else _inner_call(library, wrapper, fed, len(names))
    return None


def _inner_call(
    library: dict[str, Any], wrapper: Any, fed: Sequence[str | None], num_inputs: int
) -> _Call | None:
    calls = [each for each in wrapper.node_def if each.op in _CALLS]
    function = library.get(calls[0].attr["f"].func.name) if len(calls) == 1 else None
    if function is None:
        return None
    arguments = [each.name for each in wrapper.signature.input_arg]
    by_argument = dict(zip(arguments, fed, strict=False))
    inputs = [by_argument.get(each) for each in calls[0].input[:num_inputs]]
    found = tuple(each for each in inputs if each is not None)  # what is captured comes behind
    return _Call(function=function, inputs=found) if len(set(found)) == num_inputs else None


def _node(tensor: str) -> str:
    return tensor.partition(":")[0]


def _saved_type_specs(graph: Any, function: str, dtypes: Sequence[int]) -> list[Any] | None:
    """Returns the StructuredValue of each argument, if what is saved of the function tells them.

    Where it was traced once more for the export, it has another number at the end of its name.
    """
    saved = graph.object_graph_def.concrete_functions
    given = _ADDED_TO_NAME.sub("", function)
    names = [function] if function in saved else list(saved)
    candidates = [
        list(_tensors(saved[name].canonicalized_input_signature))
        for name in names
        if _ADDED_TO_NAME.sub("", name) == given
    ]
    fitting = [
        each for each in candidates if list(chain.from_iterable(map(_part_dtypes, each))) == dtypes
    ]
    kinds = {tuple(len(_part_dtypes(value)) for value in each) for each in fitting}
    return fitting[0] if len(kinds) == 1 else None


def _tensors(value: Any) -> Iterator[Any]:
    """Yields the StructuredValue of each tensor in a structure, as TensorFlow flattens it."""
    match value.WhichOneof("kind"):
        case "tuple_value" | "list_value" as kind:
            children = getattr(value, kind).values
        case "named_tuple_value":
            children = [each.value for each in value.named_tuple_value.values]
        case "dict_value":
            children = [each for _, each in sorted(value.dict_value.fields.items())]
        case "tensor_spec_value" | "bounded_tensor_spec_value" | "type_spec_value":
            yield value
            return
        case _:
            return
    for each in children:
        yield from _tensors(each)


def _part_dtypes(value: Any) -> list[int]:
    """Returns the types of the tensors that an argument is fed by; none if it is of another kind."""
    type_spec = value.type_spec_value
    match value.WhichOneof("kind"):
        case "type_spec_value" if is_ragged(type_spec):
            ragged = RaggedType.of(type_spec)
            return [ragged.dtype] + [ragged.splits_dtype] * ragged.ragged_rank
        case "type_spec_value" if is_sparse(type_spec):
            int64 = import_tensorflow().int64.as_datatype_enum
            return [int64, type_spec.type_state.tuple_value.values[1].tensor_dtype_value, int64]
        case "tensor_spec_value" | "bounded_tensor_spec_value" as kind:
            return [getattr(value, kind).dtype]
    return []


def _composite(value: Any) -> Any:
    """Returns the type of an argument that is fed in parts; None for others."""
    return value.type_spec_value if len(_part_dtypes(value)) > 1 else None


def _untold_arguments(call: _Call, signature: Any) -> list[Argument]:
    """Returns an argument for each input, those not told that may be parts of a ragged or sparse one.

    All parts have been named after their argument; but so have the tensors of an argument that is a
    list. Row splits, and dense shapes, are vectors of integers behind another part.
    """
    attributes = call.function.arg_attr
    named = [
        (attributes[index].attr["_user_specified_name"].s, name)
        for index, name in enumerate(call.inputs)
    ]
    arguments = []
    for _, group in groupby(named, lambda each: each[0]):
        inputs = [name for _, name in group]
        is_told = not any(_may_be_splits(signature.inputs[name]) for name in inputs[1:])
        arguments += [Argument(inputs=(name,), is_told=is_told) for name in inputs]
    return arguments


def _may_be_splits(info: Any) -> bool:
    dtype = import_tensorflow().dtypes.as_dtype(info.dtype).name
    is_vector = not info.tensor_shape.unknown_rank and len(info.tensor_shape.dim) == 1
    return is_vector and dtype in ("int32", "int64")

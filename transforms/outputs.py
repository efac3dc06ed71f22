"""Model outputs to Arrow columns, and the columns of the output files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from servable_core.batching.ragged_array import RaggedArray
from servable_core.errors import InternalError, InvalidArgumentError
from servable_core.servables.signature import Encoding, SignatureSpec
from transforms.binding import closest
from transforms.input_batch import SOURCE_FILE_COLUMN, SOURCE_ROW_COLUMN
from transforms.methods import output_columns


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputLayout:
    """The columns of an output file, in order.

    Attributes:
        copied: Columns copied from the input: the key, then pass-through columns.
        tensors: Column name by output name of the signature.
    """

    copied: tuple[str, ...]
    tensors: Mapping[str, str]


def plan_outputs(
    signature: SignatureSpec,
    *,
    copied: Sequence[str],
    renames: Mapping[str, str],
    model: str,
    method: str = "predict",
) -> OutputLayout:
    """Chooses the output columns: `copied` ones of the input, each once, then the model's outputs.

    Args:
        signature: The signature that is run.
        copied: Columns of the input.
        renames: Column by output, of the outputs to keep; empty for all.
        model: Whose the signature is, for messages.
        method: What the outputs are made into.

    Raises:
        InvalidArgumentError: An output does not exist, or two columns would have one name.
    """
    columns = output_columns(method, signature, model)
    names = list(columns)
    for output in renames:
        if output not in names:
            raise InvalidArgumentError(
                f"--output_tensors names {output!r}, which signature {signature.name!r} of model {model} does not return{closest(output, names)}"
            )
    tensors = dict(renames) or columns
    _check_batch_dimension(signature, tensors, model)
    _check_lists(signature, tensors, model)
    unique = tuple(dict.fromkeys(copied))
    _check_collisions(unique, tensors)
    return OutputLayout(copied=unique, tensors=tensors)


def _check_batch_dimension(
    signature: SignatureSpec, tensors: Mapping[str, str], model: str
) -> None:
    scalars = [each.name for each in signature.outputs if each.shape == () and each.name in tensors]
    if scalars:
        others = [each.name for each in signature.outputs if each.shape != ()]
        remedy = (
            f"leave it out with --output_tensors={','.join(others)}"
            if others
            else "the signature returns nothing else, so it cannot be precomputed"
        )
        raise InvalidArgumentError(
            f"output {scalars[0]!r} of model {model} is a scalar, not one value a row; {remedy}"
        )


def _check_lists(signature: SignatureSpec, tensors: Mapping[str, str], model: str) -> None:
    """Checks that a row of each output is a value, an array or a list."""
    for each in signature.outputs:
        is_open = each.encoding is Encoding.SPARSE and each.row_width is None
        if each.name in tensors and (is_open or each.dtype == "composite"):
            expected = "a width that the signature tells" if is_open else "one list of values a row"
            raise InvalidArgumentError(
                f"output {each} of model {model} cannot be written, which takes {expected}; leave it out with --output_tensors, or export a signature that returns it dense"
            )


def copied_columns(key: str | None, passthrough: Sequence[str]) -> list[str]:
    """Returns what a job copies: what identifies a row, its key or its place, and pass-through."""
    keys = [SOURCE_FILE_COLUMN, SOURCE_ROW_COLUMN] if key is None else [key]
    return [*keys, *passthrough]


def _check_collisions(copied: Sequence[str], tensors: Mapping[str, str]) -> None:
    taken = set(copied)
    for output, column in tensors.items():
        if column in taken:
            raise InvalidArgumentError(
                f"two output columns would be called {column!r}; rename the model's output with --output_tensors={output}=NEW_NAME"
            )
        taken.add(column)


def to_record_batch(
    columns: pa.RecordBatch, outputs: Mapping[str, Any], layout: OutputLayout
) -> pa.RecordBatch:
    """Returns the rows of an output file: copied columns beside the model's outputs."""
    arrays = {name: columns.column(name) for name in layout.copied}
    fields = [columns.schema.field(name) for name in layout.copied]
    for output, name in layout.tensors.items():
        arrays[name] = _to_array(outputs[output], columns.num_rows, output)
        fields.append(pa.field(name, arrays[name].type))
    return pa.RecordBatch.from_arrays(list(arrays.values()), schema=pa.schema(fields))


def _to_array(values: np.ndarray | RaggedArray, num_rows: int, output: str) -> pa.Array:
    """Returns `[N]` and `[N, 1]` as scalars, anything larger as (nested) fixed-size lists."""
    if len(values) != num_rows:
        raise InternalError(
            f"output {output!r} has {len(values)} rows for {num_rows} rows of input"
        )
    if isinstance(values, RaggedArray):
        return _to_list_array(values)
    row_shape = values.shape[1:]
    array = _flat_array(values)
    if row_shape in ((), (1,)):
        return array
    if 0 in row_shape:  # Arrow cannot tell the number of empty lists from their values
        nested = array.type
        for size in reversed(row_shape):
            nested = pa.list_(nested, size)
        return pa.array(values.tolist(), nested)
    for size in reversed(row_shape):
        array = pa.FixedSizeListArray.from_arrays(array, size)
    return array


def _to_list_array(values: RaggedArray) -> pa.Array:
    """Returns rows of different lengths as lists."""
    content = values.values[values.offsets[0] : values.offsets[-1]]
    array = _flat_array(content)
    for size in reversed(content.shape[1:]):
        array = pa.FixedSizeListArray.from_arrays(array, size)
    offsets = pa.array((values.offsets - values.offsets[0]).astype(np.int32))
    return pa.ListArray.from_arrays(offsets, array)


def _flat_array(values: np.ndarray) -> pa.Array:
    flat = values.reshape(-1)
    if flat.dtype.kind == "O":
        return pa.array(flat, pa.binary())
    if flat.dtype.kind == "U":
        return pa.array(flat, pa.string())
    return pa.array(flat)

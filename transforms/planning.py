"""Makes the plan: resolves versions and inputs, binds everything, cuts units. Writes nothing."""

import itertools
from collections.abc import Collection, Sequence
from typing import Any

import pyarrow as pa

from servable_core.config import read_model_batching_parameters
from servable_core.errors import InvalidArgumentError
from servable_core.servables.saved_model.tensorflow_options import configure_tensorflow
from servable_core.servables.saved_model.tensorflow_runtime import (
    configure_threads,
    current_threads,
    num_gpus,
)
from servable_core.servables.signature import SignatureSpec
from transforms.batching_options import MAX_BATCH_CELLS, batching_parameters, max_rows
from transforms.binding import Binding, bind, closest
from transforms.content_options import ContentOptions
from transforms.execution import (
    ExecutionOptions,
    batch_size_for,
    batch_threads,
    tensorflow_options,
    tensorflow_threads,
)
from transforms.formats.text_types import type_to_text
from transforms.formats.tfrecord_features import VARYING
from transforms.formats.tfrecord_options import tfrecord_options
from transforms.heads import find_heads
from transforms.input_batch import SOURCE_FILE_COLUMN, SOURCE_ROW_COLUMN
from transforms.input_map import (
    numeric_columns,
    parse_input_map,
    parse_pad_values,
    parse_renames,
)
from transforms.inputs import InputDescription, describe_inputs, find_inputs, input_format_of
from transforms.model_config import resolve_selected_models
from transforms.model_schemas import schemas_to_bind
from transforms.model_versions import ResolvedModel
from transforms.nulls import check_default
from transforms.outputs import OutputLayout, copied_columns, plan_outputs
from transforms.padding import check_padded_names, padding_options
from transforms.plan import InputFile, Plan
from transforms.plan_request import PlanRequest
from transforms.receipts import PARTITION_COLUMNS
from transforms.storage import file_system_for
from transforms.unit_cutting import cut_units, limit_rows
from transforms.unit_table import UnitTable
from transforms.user_functions import load_function


def make_plan(request: PlanRequest, execution: ExecutionOptions) -> Plan:
    """Returns the plan for `request`; reads metadata only, plus a few rows for `--preprocess`.

    Raises:
        ServableCoreError: Anything that can be known to be wrong before a worker starts.
    """
    _configure_tensorflow(execution, mixed_precision=request.mixed_precision)
    load_function("--postprocess", request.postprocess)
    models = resolve_selected_models(request.models)
    signatures = [
        find_heads(
            each.signatures,
            request.signature_name,
            each.label,
            remedy="choose one with --signature_name",
        )
        for each in models
    ]
    files = find_inputs(request.inputs)
    input_format = input_format_of(files, request.input_format)
    description = describe_inputs(
        files,
        input_format,
        request.limit,
        bounds=request.bounds,
        options=tfrecord_options(request.crc, request.on_error),
        numbers=_numbers(request, signatures),
    )
    schemas = schemas_to_bind(request.preprocess, files, input_format, description, crc=request.crc)
    bindings = _bind_all(request, models, signatures, schemas, description)
    _check_outputs(request, models, signatures, schemas)
    _check_padding(request, signatures, bindings)
    _check_nulls(request, schemas, bindings)
    batch_size = min(batch_size_for(_bound_shapes(each)) for each in bindings)
    most_rows = _most_rows(models, execution)
    columns = _read_columns(request, bindings, description)
    _check_sources(request, columns)
    _check_types(columns, description.schemas)
    return Plan(
        models=tuple(each.pinned for each in models),
        inputs=tuple(
            InputFile(path=each.path, size_bytes=each.size_bytes, mtime_secs=each.mtime_secs)
            for each in files
        ),
        units=UnitTable.of(
            cut_units(limit_rows(description.pieces, request.limit), request.bounds)
        ),
        content=_content(request, execution, input_format, most_rows or batch_size),
        read_columns=columns,
        features=_features(columns, description, _list_columns(request, bindings)),
        reads_records=any(each.takes_records for each in bindings),
        batch_size_hint=batch_size,
        flags=request.flags,
    )


def _numbers(request: PlanRequest, signatures: Sequence[SignatureSpec]) -> frozenset[str]:
    """Returns the columns in which a value that is no number is a bad one, rather than text."""
    if request.on_error == "fail" or request.preprocess is not None:
        return frozenset()
    return numeric_columns(signatures, parse_input_map(request.input_map))


def _bind_all(
    request: PlanRequest,
    models: Sequence[ResolvedModel],
    signatures: Sequence[SignatureSpec],
    schemas: Sequence[pa.Schema],
    description: InputDescription,
) -> list[Binding]:
    input_map = parse_input_map(request.input_map)
    all_inputs = {each.name for signature in signatures for each in signature.inputs}
    return [
        bind(
            signature,
            schema,
            input_map,
            has_records=description.has_records,
            model=model.label,
            other_inputs=all_inputs,
            pads_all=request.pad_variable_length_inputs,
        )
        for schema in schemas
        for model, signature in zip(models, signatures, strict=True)
    ]


def _check_padding(
    request: PlanRequest, signatures: Sequence[SignatureSpec], bindings: Sequence[Binding]
) -> None:
    """Checks that pad values are values of inputs that are padded."""
    pad_values = parse_pad_values(request.pad_values)
    check_padded_names(pad_values, [each for binding in bindings for each in binding.inputs])
    for binding, signature in zip(bindings, itertools.cycle(signatures), strict=False):
        padding_options(signature, binding, pad_values, request.length_ladder)


def _check_nulls(
    request: PlanRequest, schemas: Sequence[pa.Schema], bindings: Sequence[Binding]
) -> None:
    """Checks that what stands in for nulls is a value of each column that is fed."""
    bindings_per_schema = len(bindings) // max(len(schemas), 1)
    for index, binding in enumerate(bindings):
        schema = schemas[index // bindings_per_schema]
        check_default(request.on_null, schema, binding.columns)


def _check_outputs(
    request: PlanRequest,
    models: Sequence[ResolvedModel],
    signatures: Sequence[SignatureSpec],
    schemas: Sequence[pa.Schema],
) -> None:
    for schema in schemas:
        for flag, names in (("--key", [request.key]), ("--passthrough", request.passthrough)):
            for name in names:
                if name is not None:
                    _check_copied(request.column_flags.get(name, flag), name, schema.names)
    for model, signature in zip(models, signatures, strict=True):
        layout = plan_outputs(
            signature,
            copied=copied_columns(request.key, request.passthrough),
            renames=parse_renames(request.output_tensors),
            model=model.label,
            method=request.method,
        )
        _check_partitions(layout)


def _check_copied(flag: str, name: str, names: Sequence[str]) -> None:
    if name not in names:
        raise InvalidArgumentError(
            f"{flag}={name}: the data have no such column{closest(name, names)}"
        )
    if names.count(name) > 1:
        raise InvalidArgumentError(f"{flag}={name}: the data have several columns of that name")


def _check_partitions(layout: OutputLayout) -> None:
    """Readers of the output get these columns from the names of its directories."""
    for name in PARTITION_COLUMNS:
        if name in layout.copied:
            raise InvalidArgumentError(
                f"the column {name!r} cannot be copied: the output has one of that name, which says which model a row is of; rename it with --preprocess"
            )
        for output, column in layout.tensors.items():
            if column == name:
                raise InvalidArgumentError(
                    f"the model's output {output!r} cannot be called {name!r}: the output has a column of that name, which says which model a row is of; give --output_tensors={output}=NEW_NAME"
                )


def _check_sources(request: PlanRequest, columns: Sequence[str]) -> None:
    """Without a key each row gets its file and number, in columns that the data must not have."""
    taken = [name for name in (SOURCE_FILE_COLUMN, SOURCE_ROW_COLUMN) if name in columns]
    if request.key is None and taken:
        raise InvalidArgumentError(
            f"the data have a column {taken[0]!r}, which is what rows without a key get; give --key=COLUMN"
        )


def _check_types(columns: Sequence[str], schemas: Sequence[pa.Schema]) -> None:
    """A column that is read must be the same in all files: their rows share batches and parts."""
    for name in columns:
        if any(each.names.count(name) > 1 for each in schemas):
            raise InvalidArgumentError(
                f"the data have several columns called {name!r}; rename them"
            )
        types = [str(each.field(name).type) for each in schemas if name in each.names]
        different = sorted(set(types))
        if len(different) > 1:
            raise InvalidArgumentError(
                f"column {name!r} is {different[0]} in some of the input files and {different[1]} in others; write them with one type, or run a job for each kind of file"
            )
        if len(types) < len(schemas):
            raise InvalidArgumentError(
                f"column {name!r} is missing from some of the input files, but --preprocess gets every column; write it to all of them, or run a job for each kind of file"
            )


def _bound_shapes(binding: Binding) -> list[Any]:
    return [(each.tensor, each.row_shape) for each in binding.inputs]


def _read_columns(
    request: PlanRequest, bindings: Sequence[Binding], description: InputDescription
) -> tuple[str, ...]:
    if request.preprocess is not None:  # the user's function may want any column
        names = dict.fromkeys(name for schema in description.schemas for name in schema.names)
        return tuple(names)
    bound = [name for each in bindings for name in each.columns]
    keys = [] if request.key is None else [request.key]
    return tuple(dict.fromkeys([*keys, *request.passthrough, *bound]))


def _list_columns(request: PlanRequest, bindings: Sequence[Binding]) -> set[str]:
    """Returns the columns that only ragged and sparse inputs take: lists, whatever the first rows are."""
    if request.preprocess is not None:  # it has been tried on what the first rows are
        return set()
    inputs = [each for binding in bindings for each in binding.inputs]
    names = {name for each in inputs if not each.tensor.is_dense for name in each.columns}
    others = {name for each in inputs if each.tensor.is_dense for name in each.columns}
    return names - others - {request.key, *request.passthrough}


def _features(
    columns: Sequence[str], description: InputDescription, lists: Collection[str]
) -> dict[str, tuple[str, int | None, bool]]:
    """Returns how the columns are parsed; in Examples a list is a feature of any length."""
    features = description.features
    used = {name: features[name] for name in columns if name in features}
    varying = lists if description.has_records else ()
    return {
        name: (
            type_to_text(each.value_type),
            VARYING if name in varying and not each.is_sequence else each.length,
            each.is_sequence,
        )
        for name, each in used.items()
    }


def _configure_tensorflow(execution: ExecutionOptions, *, mixed_precision: bool) -> None:
    """Sets TensorFlow up before the user's functions, or ours, make it start otherwise."""
    gpus = num_gpus()
    configure_tensorflow(tensorflow_options(execution, mixed_precision=mixed_precision))
    configure_threads(tensorflow_threads(batch_threads(execution, gpus), gpus))


def _content(
    request: PlanRequest, execution: ExecutionOptions, input_format: str, batch_size: int
) -> ContentOptions:
    threads = current_threads()
    return ContentOptions(
        input_format=input_format,
        signature_name=request.signature_name,
        input_map=request.input_map,
        key=request.key,
        passthrough=request.passthrough,
        output_tensors=request.output_tensors,
        preprocess=request.preprocess,
        postprocess=request.postprocess,
        on_error=request.on_error,
        crc=request.crc,
        jit_compile=request.jit_compile,
        mixed_precision=request.mixed_precision,
        pad_variable_length_inputs=request.pad_variable_length_inputs,
        pad_values=request.pad_values,
        length_ladder=request.length_ladder,
        output_format=request.output_format,
        log_inputs=request.log_inputs,
        method=request.method,
        sample=request.sample,
        sample_seed=request.sample_seed,
        on_null=str(request.on_null),
        dedupe=request.dedupe,
        deterministic_batch_size=(batch_size if request.deterministic else None),
        deterministic_batch_cells=(
            execution.max_batch_cells or MAX_BATCH_CELLS if request.deterministic else None
        ),
        deterministic_threads=(
            (threads.intra_op, threads.inter_op) if request.deterministic else None
        ),
    )


def _most_rows(models: Sequence[ResolvedModel], execution: ExecutionOptions) -> int | None:
    """Returns the rows of a batch that flags and files ask for, the fewest of all models'."""
    asked = []
    for model in models:
        path = model.pinned.path
        own = read_model_batching_parameters(path, file_system=file_system_for(path))
        asked.append(max_rows(batching_parameters(execution, own)))
    return min((rows for rows in asked if rows is not None), default=None)

"""`predict(table, model_base_path)`: the engine of the jobs without Beam, for notebooks and tests.

Example:
    from pipelines.predict import predict
    scores = predict(table, "models/ranker", passthrough=["id"])
    print(scores.to_pandas().head())
"""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from servable_core.errors import InternalError, InvalidArgumentError
from servable_core.servables.signature import SignatureSpec, find_signature
from servable_core.sources.version_selection import parse_version_policy
from transforms.batching_options import max_rows
from transforms.binding import bind, closest
from transforms.execution import ExecutionOptions, batch_size_for
from transforms.infer import InFlightWindow, infer_batches
from transforms.input_batch import InputBatch
from transforms.input_map import parse_input_map, parse_pad_values, parse_renames
from transforms.model_versions import resolve_models
from transforms.outputs import OutputLayout, plan_outputs, to_record_batch
from transforms.padding import padding_options
from transforms.ragged_outputs import without_fixed_outputs
from transforms.submission import submit_batch
from transforms.tensors import to_tensors
from transforms.user_functions import BatchFunction, checked_function
from transforms.worker_core import WorkerCoreConfig, acquired_core
from transforms.worker_sessions import SessionRequest

_MAX_BATCHES_IN_FLIGHT = 64
_MAX_BYTES_IN_FLIGHT = 256 << 20


def predict(
    table: pa.Table,
    model_base_path: str,
    *,
    model_version: str | int = "latest",
    signature_name: str = "serving_default",
    input_map: Sequence[str] = (),
    passthrough: Sequence[str] = (),
    output_tensors: Sequence[str] = (),
    preprocess: BatchFunction | None = None,
    max_batch_size: int | None = None,
    pad_variable_length_inputs: bool = False,
    pad_values: Sequence[str] = (),
) -> pa.Table:
    """Returns the model's outputs for the rows of `table`, in their order.

    Loads the model on the first call and keeps it for a minute after the last one. Thread-safe;
    calls on several threads share batches.

    Args:
        table: Rows; columns bind to the signature's inputs as they do in a job.
        model_base_path: Directory with a subdirectory for each version.
        model_version: One version, such as 3, "3" or "latest".
        signature_name: Signature to run.
        input_map: `tensor=column` or `tensor=[c1,c2]` entries.
        passthrough: Columns of `table` to put before the outputs.
        output_tensors: Outputs to keep, `old=new` renames; all if empty.
        preprocess: Applied to each batch first; must keep the rows.
        max_batch_size: Rows of a batch; found by measuring if None.
        pad_variable_length_inputs: Whether lists of varying length are padded, also for inputs
            without a mask or lengths.
        pad_values: What to pad inputs with, `tensor=value` entries; zero where not given.

    Returns:
        A table of `len(table)` rows: pass-through columns, then one column for each output.

    Raises:
        NotFoundError: No such model, version or signature.
        InvalidArgumentError: The table does not fit the signature.
    """
    models = resolve_models(model_base_path, None, parse_version_policy(str(model_version)))
    if len(models) != 1:
        raise InvalidArgumentError(
            f"model_version={model_version!r} selects {len(models)} versions; predict takes one"
        )
    if preprocess is not None:
        preprocess = checked_function("preprocess", preprocess)
    model = models[0]
    signature = find_signature(model.signatures, signature_name, model.label)
    sample = _first_batch(table, preprocess)
    binding = bind(
        signature,
        sample.schema,
        parse_input_map(input_map),
        has_records=False,
        model=model.label,
        pads_all=pad_variable_length_inputs,
    )
    layout = _layout(signature, sample, passthrough, output_tensors, model.label)
    batch_size = max_batch_size or batch_size_for(
        [(each.tensor, each.row_shape) for each in binding.inputs]
    )
    execution = ExecutionOptions(max_batch_size=max_batch_size)
    config = WorkerCoreConfig(models=(model.pinned,), execution=execution)
    outputs = tuple(layout.tensors)
    padding = padding_options(signature, binding, parse_pad_values(pad_values), ())
    with acquired_core(config) as core:
        session = core.session(
            SessionRequest(
                model=model.pinned,
                signature_name=signature_name,
                outputs=outputs,
                batch_size=batch_size,
                padding=without_fixed_outputs(
                    padding,
                    to_tensors(InputBatch(columns=sample), binding),
                    lambda inputs: core.predict(model.pinned, signature_name, inputs, outputs),
                ),
                is_ragged=any(each.is_ragged for each in binding.inputs),
            )
        )
        most = max_rows(core.batching_parameters(model.pinned))
        inferred = infer_batches(
            _batches(table, min(batch_size, most or batch_size), preprocess),
            lambda batch: [
                submit_batch(
                    batch,
                    lambda rows: to_tensors(rows, binding),
                    session.submit,
                    model=(model.pinned.name, model.pinned.version),
                    keeps_bad_records=False,
                )
            ],
            window=InFlightWindow(
                max_batches=_MAX_BATCHES_IN_FLIGHT, max_bytes=_MAX_BYTES_IN_FLIGHT
            ),
            timeout_secs=ExecutionOptions().batch_timeout_secs,
            check=lambda: None,
            flush=lambda all_rows: session.flush() if all_rows else session.flush_oldest(),
        )
        result = pa.Table.from_batches(
            [
                to_record_batch(rows.columns, outputs, layout)
                for each in inferred
                for rows, outputs in each.outcomes[0].results
            ]
        )
    if result.num_rows != table.num_rows:
        raise InternalError(f"{table.num_rows} rows went in, {result.num_rows} came out")
    return result


def _layout(
    signature: SignatureSpec,
    sample: pa.RecordBatch,
    passthrough: Sequence[str],
    output_tensors: Sequence[str],
    model: str,
) -> OutputLayout:
    for name in passthrough:
        if name not in sample.schema.names:
            raise InvalidArgumentError(
                f"passthrough names {name!r}, which the table does not have{closest(name, sample.schema.names)}"
            )
    return plan_outputs(
        signature,
        copied=passthrough,
        renames=parse_renames(output_tensors),
        model=model,
    )


def _first_batch(table: pa.Table, preprocess: BatchFunction | None) -> pa.RecordBatch:
    return next(iter(_batches(table.slice(0, 1), 1, preprocess))).columns


def _batches(
    table: pa.Table, batch_size: int, preprocess: BatchFunction | None
) -> Iterator[InputBatch]:
    """Yields at least one batch, so that an empty table gives an empty result with columns."""
    for start in range(0, max(table.num_rows, 1), batch_size):
        part = table.slice(start, batch_size).combine_chunks()
        # More than one where the strings of a column exceed the 2 GiB that an array can hold.
        for batch in part.to_batches() or [_empty(table.schema)]:
            yield InputBatch(columns=batch if preprocess is None else preprocess(batch))


def _empty(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)

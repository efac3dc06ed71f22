"""One model of a job: how rows become its inputs, and its outputs become columns."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import pyarrow as pa

from servable_core.batching import BatchingSession, PaddingOptions
from servable_core.servables.signature import SignatureSpec
from transforms.bad_records import Stage
from transforms.batch_isolation import Isolated, isolate
from transforms.batching_options import max_rows
from transforms.binding import Binding, BoundInput, bind
from transforms.content_options import ContentOptions
from transforms.distinct_rows import DistinctRows
from transforms.execution import ExecutionOptions
from transforms.formats.part_writer import NO_TENSORS, CreateWriter, OutputRows, RowTensors
from transforms.formats.prediction_log_writer import LoggedModel
from transforms.input_batch import InputBatch
from transforms.input_map import ColumnSource, parse_input_map, parse_pad_values, parse_renames
from transforms.logged_inputs import logged_inputs
from transforms.methods import method_outputs
from transforms.output_formats import OUTPUT_FORMATS
from transforms.outputs import OutputLayout, copied_columns, plan_outputs, to_record_batch
from transforms.padding import padding_options
from transforms.plan import PinnedModel
from transforms.ragged_outputs import without_fixed_outputs
from transforms.submission import ModelOutcome, Submission, submit_batch
from transforms.tensors import to_tensors
from transforms.user_functions import BatchFunction
from transforms.worker_core import WorkerCore
from transforms.worker_sessions import SessionRequest


class ModelStage:
    """One pinned model: how rows become its inputs, and its outputs become columns. Thread-safe."""

    def __init__(self, core: WorkerCore, model: PinnedModel, content: ContentOptions) -> None:
        self._core = core
        self.model = model
        self.signature: SignatureSpec = core.signature(model, content.signature_name)
        own_inputs = {each.name for each in self.signature.inputs}
        self._input_map: dict[str, ColumnSource] = {
            name: source
            for name, source in parse_input_map(content.input_map).items()
            if name in own_inputs  # other versions of the job may have others
        }
        self._content = content
        parameters = core.batching_parameters(model)
        self._max_rows = max_rows(parameters)
        self._is_size_given = parameters.max_batch_size is not None
        self._session: BatchingSession | None = None
        self._is_ragged = False
        self.layout: OutputLayout = plan_outputs(
            self.signature,
            copied=copied_columns(content.key, content.passthrough),
            renames=parse_renames(content.output_tensors),
            model=str(model.servable_id),
            method=content.method,
        )
        # The last schema seen; two threads may both bind it, to the same result.
        self._bound: tuple[pa.Schema, Binding] | None = None

    def binding(self, batch: InputBatch) -> Binding:
        """Returns how the inputs bind to this batch's columns."""
        schema = batch.columns.schema
        bound = self._bound
        if bound is None or not bound[0].equals(schema):
            binding = bind(
                self.signature,
                schema,
                self._input_map,
                has_records=batch.records is not None,
                model=str(self.model.servable_id),
                pads_all=self._content.pad_variable_length_inputs,
            )
            bound = self._bound = (schema, binding)
        return bound[1]

    def session(
        self, binding: Binding, batch_size: int, inputs: Mapping[str, Any]
    ) -> BatchingSession:
        """Returns the session that batches for this model; the same for every binding.

        Args:
            binding: How its inputs are fed.
            batch_size: Rows of a batch to start with.
            inputs: What will be submitted first.
        """
        if self._session is None:
            self._is_ragged = any(each.is_ragged for each in binding.inputs)
            self._session = self._core.session(
                SessionRequest(
                    model=self.model,
                    signature_name=self.signature.name,
                    outputs=tuple(self.layout.tensors),
                    batch_size=batch_size,
                    padding=self._padding(binding, inputs),
                    is_ragged=self._is_ragged,
                )
            )
        return self._session

    def _padding(self, binding: Binding, inputs: Mapping[str, Any]) -> PaddingOptions:
        content = self._content
        pad_values = parse_pad_values(content.pad_values)
        return without_fixed_outputs(
            padding_options(self.signature, binding, pad_values, content.length_ladder),
            inputs,
            lambda padded: self._core.predict(
                self.model, self.signature.name, padded, tuple(self.layout.tensors)
            ),
        )

    @property
    def bound_inputs(self) -> tuple[BoundInput, ...]:
        """How the inputs were fed last; empty before the first batch."""
        return () if self._bound is None else self._bound[1].inputs

    def flush(self, *, all_rows: bool) -> None:
        """Lets rows run that wait for others to share a batch with: all, or the oldest."""
        if self._session is None:
            return
        if all_rows:
            self._session.flush()
        else:
            self._session.flush_oldest()

    def batch_size(self, batch_size: int) -> int:
        """Returns the rows that batches should be read in now; `batch_size` if nobody has said."""
        session = self._session
        if session is not None and not self._is_ragged:
            return session.batch_size
        if self._max_rows is None or self._is_size_given:
            return self._max_rows or batch_size
        return min(batch_size, self._max_rows)

    def submit(
        self,
        batch: InputBatch,
        batch_size: int,
        execution: ExecutionOptions,
        distinct: DistinctRows | None = None,
        *,
        while_binding: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> Submission:
        """Hands rows to the model; blocks while its queue is full.

        Args:
            batch: The rows.
            batch_size: Rows of a batch to start with.
            execution: How long to wait.
            distinct: What it was given of the unit before, and need not be given again; None to
                hand over all rows.
            while_binding: Makes what is held while tensors are made of the rows.
        """
        binding = self.binding(batch)
        if distinct is not None:
            distinct.start_batch()

        def make_inputs(rows: InputBatch) -> dict[str, Any]:
            with while_binding():
                return to_tensors(rows, binding)

        def submit(inputs: dict[str, Any]) -> Any:
            session = self.session(binding, batch_size, inputs)
            return session.submit(inputs, timeout_secs=execution.batch_timeout_secs)

        return submit_batch(
            batch,
            make_inputs,
            submit if distinct is None else partial(distinct.submit, submit),
            model=self._label,
            keeps_bad_records=self._content.keeps_bad_records,
        )

    def output_rows(
        self, outcome: ModelOutcome, postprocess: BatchFunction | None
    ) -> Isolated[OutputRows]:
        """Returns the rows to write.

        Those that `postprocess` fails on, or that the output's format has no place for, are bad, too.
        """
        written: Isolated[OutputRows] = Isolated(bad_records=list(outcome.bad_records))
        for batch, outputs in outcome.results:
            made = method_outputs(
                self._content.method, outputs, batch.num_rows, str(self.model.servable_id)
            )
            columns = to_record_batch(batch.columns, made, self.layout)
            if postprocess is None:
                tensors = self._row_tensors(batch, outputs)
                written.results.append((batch, OutputRows(columns=columns, tensors=tensors)))
            elif not self._content.keeps_bad_records:
                written.results.append((batch, OutputRows(columns=postprocess(columns))))
            else:
                self._postprocess(batch, columns, postprocess, written)
        return self._writable(written) if self._content.keeps_bad_records else written

    def _row_tensors(self, batch: InputBatch, outputs: Mapping[str, Any]) -> RowTensors:
        content = self._content
        if not OUTPUT_FORMATS[content.output_format].logs_tensors:
            return NO_TENSORS
        return RowTensors(
            inputs=self._logged_inputs(batch) if content.log_inputs else {},
            outputs={name: outputs[name] for name in self.layout.tensors},
        )

    def _logged_inputs(self, batch: InputBatch) -> dict[str, Any]:
        binding = self.binding(batch)
        pad_values = parse_pad_values(self._content.pad_values)
        ladder = self._content.length_ladder
        padding = padding_options(self.signature, binding, pad_values, ladder)
        submitted = to_tensors(batch, binding)
        return logged_inputs(submitted, padding.derived, self.signature.inputs)

    @property
    def create_writer(self) -> CreateWriter:
        """What makes the writers of the model's parts."""
        names = tuple(self.layout.tensors)
        asked = LoggedModel(
            name=self.model.name,
            version=self.model.version,
            signature_name=self.signature.name,
            output_filter=names if len(names) < len(self.signature.outputs) else (),
        )
        return OUTPUT_FORMATS[self._content.output_format].writer_for(asked)

    def _postprocess(
        self,
        batch: InputBatch,
        columns: pa.RecordBatch,
        postprocess: BatchFunction,
        written: Isolated[OutputRows],
    ) -> None:
        def apply(start: int, stop: int) -> OutputRows:
            return OutputRows(columns=postprocess(columns.slice(start, stop - start)))

        isolated = isolate(batch, apply, Stage.POSTPROCESS, self._label)
        written.results.extend(isolated.results)
        written.bad_records.extend(isolated.bad_records)

    def _writable(self, made: Isolated[OutputRows]) -> Isolated[OutputRows]:
        check = OUTPUT_FORMATS[self._content.output_format].check
        if check is None:
            return made
        kept: Isolated[OutputRows] = Isolated(bad_records=made.bad_records)
        for batch, rows in made.results:
            check(rows.columns.slice(0, 0))  # a type that it lacks is not about rows
            isolated = isolate(batch, partial(_checked, check, rows), Stage.WRITE, self._label)
            kept.results.extend(isolated.results)
            kept.bad_records.extend(isolated.bad_records)
        return kept

    @property
    def _label(self) -> tuple[str, int]:
        return self.model.name, self.model.version


def _checked(
    check: Callable[[pa.RecordBatch], None], rows: OutputRows, start: int, stop: int
) -> OutputRows:
    columns = rows.columns.slice(start, stop - start)
    check(columns)
    return OutputRows(columns=columns, tensors=rows.tensors.slice(start, stop))

"""The data that `inspect` is given: what they are, and how they would bind to a signature."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from pipelines.inspect_options import InspectOptions
from servable_core.errors import InvalidArgumentError
from servable_core.servables.signature import SignatureSpec
from transforms.binding import Binding, BoundInput, try_bind, unknown_inputs
from transforms.input_map import ColumnSource, parse_input_map, parse_pad_values
from transforms.inputs import InputDescription, describe_inputs, find_inputs, input_format_of
from transforms.model_schemas import schemas_to_bind
from transforms.nulls import NullPolicy, check_default, parse_null_policy
from transforms.padding import check_padded_names, padding_options

_FORMAT_NAMES = {
    "parquet": "Parquet",
    "tfrecord": "TFRecord of tf.train.Example",
    "csv": "CSV",
    "jsonl": "JSON Lines",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class InspectedData:
    """Data, and what the user said of binding them; a job binds by the same functions.

    Attributes:
        title: Where they are.
        description: What is in the files.
        schemas: What models see of them.
        preprocess: What makes the one of the other, if anything.
        input_map: Sources of inputs that do not bind by name.
        pads_all: Whether all lists of varying length are padded.
        pad_values: What with, by input.
        length_ladder: Lengths to pad to; empty for the default ones.
        on_null: What becomes of rows with nulls.
    """

    title: str
    description: InputDescription
    schemas: tuple[pa.Schema, ...]
    preprocess: str | None
    input_map: Mapping[str, ColumnSource]
    pads_all: bool
    pad_values: Mapping[str, str]
    length_ladder: tuple[int, ...]
    on_null: NullPolicy

    def schema_lines(self) -> Iterator[str]:
        """Yields the lines that tell of the data."""
        description = self.description
        files = {each.file_index for each in description.pieces}
        rows = [each.num_rows for each in description.pieces]
        total = "" if -1 in rows else f", {sum(rows):,} rows"
        kind = _FORMAT_NAMES.get(description.input_format, description.input_format)
        yield f"input {self.title}: {kind}, {len(files)} files{total}"
        yield from _field_lines(description.schemas)
        if self.preprocess is not None:
            yield f"after --preprocess={self.preprocess}"
            yield from _field_lines(self.schemas)

    def binding_lines(self, signature: SignatureSpec) -> Iterator[str]:
        """Yields for each input of a signature how it binds, and what does not fit."""
        for schema in self.schemas:
            results = self._bind(signature, schema)
            yield from map(_input_line, results)
            bound = tuple(each for each in results if isinstance(each, BoundInput))
            if len(bound) == len(results):
                yield from self._problem_lines(signature, schema, Binding(inputs=bound))

    def check_names(self, signatures: Collection[SignatureSpec]) -> None:
        """Checks that each input that the user named is there, and padded where it has to be.

        Raises:
            InvalidArgumentError: It is not in any of `signatures`.
        """
        inputs = {each.name for signature in signatures for each in signature.inputs}
        problems = unknown_inputs(self.input_map, sorted(inputs))
        if problems and signatures:
            raise InvalidArgumentError(problems[0])
        results = [
            each
            for schema in self.schemas
            for signature in signatures
            for each in self._bind(signature, schema)
        ]
        if not any(isinstance(each, str) for each in results):  # else that comes first
            check_padded_names(self.pad_values, [r for r in results if isinstance(r, BoundInput)])

    def _bind(self, signature: SignatureSpec, schema: pa.Schema) -> list[BoundInput | str]:
        return try_bind(
            signature,
            schema,
            self.input_map,
            has_records=self.description.has_records,
            pads_all=self.pads_all,
        )

    def _problem_lines(
        self, signature: SignatureSpec, schema: pa.Schema, binding: Binding
    ) -> Iterator[str]:
        """Yields what of the values for padding and nulls cannot be."""
        try:
            padding_options(signature, binding, self.pad_values, self.length_ladder)
            check_default(self.on_null, schema, binding.columns)
        except InvalidArgumentError as error:
            yield f"cannot bind: {error}"


def inspected_data(options: InspectOptions) -> InspectedData | None:
    """Returns the data to bind; None if there are none.

    Raises:
        ServableCoreError: There is no such input, or it cannot be read.
    """
    if not options.input:
        return None
    files = find_inputs(options.input)
    input_format = input_format_of(files, options.input_format)
    description = describe_inputs(files, input_format, limit=None)
    return InspectedData(
        title=", ".join(options.input),
        description=description,
        schemas=schemas_to_bind(options.preprocess, files, input_format, description),
        preprocess=options.preprocess,
        input_map=parse_input_map(options.input_map),
        pads_all=options.pad_variable_length_inputs,
        pad_values=parse_pad_values(options.pad_values),
        length_ladder=options.length_ladder,
        on_null=parse_null_policy(options.on_null),
    )


def _field_lines(schemas: tuple[pa.Schema, ...]) -> Iterator[str]:
    for schema in schemas:
        yield from (f"  {field.name}: {_type_words(field.type)}" for field in schema)
    if len(schemas) > 1:
        yield f"  ({len(schemas)} different schemas)"


def _type_words(data_type: pa.DataType) -> str:
    return str(data_type).replace("item: ", "").replace("element: ", "")


def _input_line(bound: BoundInput | str) -> str:
    return f"input   {bound}" if isinstance(bound, BoundInput) else f"cannot bind: {bound}"

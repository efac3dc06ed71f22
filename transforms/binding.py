"""Binds a signature's inputs to the columns of the data: by name, by `--input_map`, or not at all.

Pure: a signature and an Arrow schema in, a `Binding` or one message about all that does not fit out.
`inspect`, planning and workers use the same functions.
"""

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from servable_core.batching.padding import Derivation
from servable_core.errors import InvalidArgumentError
from servable_core.servables.signature import Encoding, SignatureSpec, TensorSpec, format_shape
from transforms.casts import Cast, cast_between
from transforms.formats.example_bytes import to_examples
from transforms.input_batch import RECORD_COLUMN, SOURCE_FILE_COLUMN, SOURCE_ROW_COLUMN
from transforms.input_map import ALL_COLUMNS, ColumnSource, padded_columns
from transforms.row_shapes import fit_list, fit_row, list_length, row_words, value_type

_MAX_SHOWN = 100  # characters of a name in a message


@dataclass(frozen=True, kw_only=True, slots=True)
class BoundInput:
    """How one input's tensor is made.

    Attributes:
        tensor: The signature's input.
        columns: Columns it is made of; `(RECORD_COLUMN,)` for serialized Examples.
        row_shape: Shape of one row, without the batch dimension; -1 where it varies.
        cast: Conversion of the values.
        is_padded: Whether its rows have different lengths, and are padded when batches are made.
        derivation: What of the column is fed, if not its values: made when the column is padded.
        as_example: Whether the columns are encoded, as a serialized Example for each row.
    """

    tensor: TensorSpec
    columns: tuple[str, ...]
    row_shape: tuple[int, ...]
    cast: Cast
    is_padded: bool = False
    derivation: Derivation | None = None
    as_example: bool = False

    @property
    def is_ragged(self) -> bool:
        """Whether batches of it have rows of different lengths, which the model takes so or padded."""
        return self.is_padded or not self.tensor.is_dense

    @property
    def takes_lists(self) -> bool:
        """Whether a row of it is the list that a column has there, padded or not."""
        is_values = self.derivation is None and self.tensor.is_dense
        return is_values and len(self.columns) == 1 and len(self.row_shape) > 0

    @property
    def takes_records(self) -> bool:
        """Whether it is fed serialized Examples."""
        return self.columns == (RECORD_COLUMN,)

    def __str__(self) -> str:
        source = "serialized Examples" if self.takes_records else ", ".join(self.columns)
        if self.derivation is not None:
            source = f"{self.derivation.value}({source})"
        if self.as_example:
            source = f"example({source})"
        notes = [str(self.cast)] if str(self.cast) else []
        notes += ["padded"] if self.is_padded else []
        note = f" ({', '.join(notes)})" if notes else ""
        return f"{self.tensor} <- {source}{note}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Binding:
    """All inputs of a signature, bound.

    Attributes:
        inputs: In the signature's order.
    """

    inputs: tuple[BoundInput, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Returns the columns to read, each once, in order of use."""
        names = [name for each in self.inputs for name in each.columns if name != RECORD_COLUMN]
        return tuple(dict.fromkeys(names))

    @property
    def takes_records(self) -> bool:
        """Whether any input is fed serialized Examples."""
        return any(each.takes_records for each in self.inputs)


def bind(
    signature: SignatureSpec,
    schema: pa.Schema,
    input_map: Mapping[str, ColumnSource],
    *,
    has_records: bool,
    model: str,
    other_inputs: Collection[str] = (),
    pads_all: bool = False,
) -> Binding:
    """Binds every input of `signature`.

    Args:
        signature: The signature to feed.
        schema: Columns, or features parsed to columns, that the data offer.
        input_map: What the user said; inputs not named bind by equal names.
        has_records: Whether the data are serialized Examples, which a rank-1 string input without a
            feature of its name is fed as they are.
        model: Name for messages.
        other_inputs: Inputs that only other versions of the same job have; `input_map` may name them.
        pads_all: Whether lists of varying length are padded, also without a mask or lengths.

    Raises:
        InvalidArgumentError: Something does not fit; one message lists all of it.
    """
    results = try_bind(signature, schema, input_map, has_records=has_records, pads_all=pads_all)
    problems = [each for each in results if isinstance(each, str)]
    names = [each.name for each in signature.inputs]
    problems += unknown_inputs(input_map, names, other_inputs)
    if problems:
        listed = "".join(f"\n  {problem}" for problem in problems)
        raise InvalidArgumentError(
            f"signature {signature.name!r} of model {model} does not fit the data:{listed}"
        )
    return Binding(inputs=tuple(each for each in results if isinstance(each, BoundInput)))


def unknown_inputs(
    input_map: Collection[str], names: Sequence[str], other_inputs: Collection[str] = ()
) -> list[str]:
    """Returns in words which of the inputs that the user named are neither in `names` nor others."""
    return [
        f"--input_map names {name!r}, which is no input of it{closest(name, names)}"
        for name in sorted(set(input_map) - {*names, *other_inputs})
    ]


def try_bind(
    signature: SignatureSpec,
    schema: pa.Schema,
    input_map: Mapping[str, ColumnSource],
    *,
    has_records: bool,
    pads_all: bool = False,
) -> list[BoundInput | str]:
    """Returns for each input how it binds, or in words why it does not."""
    only_input = len(signature.inputs) == 1
    results = [
        _bind_input(
            tensor,
            schema,
            input_map.get(tensor.name),
            has_records=has_records,
            only_input=only_input,
        )
        for tensor in signature.inputs
    ]
    names = {each.name for each in signature.inputs}  # other versions of a job may have others
    wanted = padded_columns({name: each for name, each in input_map.items() if name in names})
    padded = [
        _padded(each, wanted, pads_all=pads_all) if isinstance(each, BoundInput) else each
        for each in results
    ]
    return [_with_source(each, padded) for each in padded]


def _padded(bound: BoundInput, wanted: Collection[str], *, pads_all: bool) -> BoundInput:
    """Marks an input of varying length as padded, if that was asked for."""
    is_values = bound.derivation is None and bound.tensor.is_dense
    varies = is_values and bound.row_shape[:1] == (-1,)
    if varies and (pads_all or bound.columns[0] in wanted):
        return replace(bound, is_padded=True)
    return bound


def _with_source(
    bound: BoundInput | str, all_bound: Sequence[BoundInput | str]
) -> BoundInput | str:
    """Checks that a mask, or lengths, have an input that they belong to."""
    if isinstance(bound, str) or bound.derivation is None:
        return bound
    column = bound.columns[0]
    for each in all_bound:
        if isinstance(each, BoundInput) and each.takes_lists and each.columns == (column,):
            return bound
    return f"input {bound.tensor}: {bound.derivation.value}({column}) describes how the lists of column {column!r} are padded, but no input is fed with them"


def _bind_input(
    tensor: TensorSpec,
    schema: pa.Schema,
    source: ColumnSource | None,
    *,
    has_records: bool,
    only_input: bool,
) -> BoundInput | str:
    if tensor.dtype == "composite":
        return _unfeedable(tensor)
    if tensor.shape == ():
        return f"input {tensor.name!r} is a scalar without a batch dimension: it cannot be fed rows"
    source = source or _source_by_name(tensor, schema, has_records=has_records)
    if source is None:
        return _unbound(tensor, schema, only_input=only_input)
    if source.columns == (RECORD_COLUMN,):
        return _bind_records(tensor, has_records=has_records)
    if source.columns == (ALL_COLUMNS,) and source.as_example:
        source = replace(source, columns=_data_columns(schema))
    missing = [name for name in source.columns if name not in schema.names]
    if missing:
        hints = "; ".join(f"{name!r}{closest(name, schema.names)}" for name in missing)
        return f"input {tensor}: --input_map names a column that the data do not have: {hints}"
    return _bind_columns(tensor, source, schema)


def _data_columns(schema: pa.Schema) -> tuple[str, ...]:
    """Returns the columns that the data have, without those that tell where a row comes from."""
    added = (SOURCE_FILE_COLUMN, SOURCE_ROW_COLUMN)
    return tuple(name for name in schema.names if name not in added)


def _source_by_name(
    tensor: TensorSpec, schema: pa.Schema, *, has_records: bool
) -> ColumnSource | None:
    if tensor.name in schema.names:
        return ColumnSource(columns=(tensor.name,), stacked=False)
    if has_records and _is_string_vector(tensor):
        return ColumnSource(columns=(RECORD_COLUMN,), stacked=False)
    return None


def _bind_derived(tensor: TensorSpec, column: str, derivation: Derivation) -> BoundInput | str:
    is_mask = derivation is Derivation.MASK
    expected: tuple[None, ...] = (None, None) if is_mask else (None,)
    has_shape = tensor.is_dense and tensor.shape in (None, expected)
    if not has_shape or tensor.dtype in ("string", "composite"):
        shape = "[None, None]" if is_mask else "[None]"
        return f"input {tensor} cannot be {derivation.value}({column}), which is {shape} of bool, integers or floats"
    return BoundInput(
        tensor=tensor,
        columns=(column,),
        row_shape=(-1,) if is_mask else (),
        cast=Cast.SAME,
        derivation=derivation,
    )


def _is_string_vector(tensor: TensorSpec) -> bool:
    return tensor.dtype == "string" and tensor.shape is not None and len(tensor.shape) == 1


def _bind_records(tensor: TensorSpec, *, has_records: bool) -> BoundInput | str:
    if not has_records:
        return f"input {tensor}: the data are no serialized Examples; have them made, with --input_map={tensor.name}=example(*)"
    if not _is_string_vector(tensor):
        return f"input {tensor} cannot be fed serialized Examples, which are string [None]"
    return BoundInput(tensor=tensor, columns=(RECORD_COLUMN,), row_shape=(), cast=Cast.SAME)


def _bind_example(tensor: TensorSpec, source: ColumnSource, schema: pa.Schema) -> BoundInput | str:
    if not _is_string_vector(tensor):
        return f"input {tensor} cannot be fed serialized Examples, which are string [None]"
    twice = [name for name in source.columns if schema.names.count(name) > 1]
    if twice:
        return f"input {tensor}: the data have several columns called {twice[0]!r}; rename them"
    fields = pa.schema([schema.field(name) for name in source.columns])
    try:
        to_examples(pa.RecordBatch.from_pylist([], fields))  # each type is one that Examples have
    except InvalidArgumentError as error:
        problem = str(error).partition(";")[0]  # what it says to do is meant for outputs
        return f"input {tensor}: {problem}; name the columns to encode, with --input_map={tensor.name}=example(COLUMN,COLUMN)"
    return BoundInput(
        tensor=tensor, columns=source.columns, row_shape=(), cast=Cast.SAME, as_example=True
    )


def _bind_computed(tensor: TensorSpec, source: ColumnSource, schema: pa.Schema) -> BoundInput | str:
    """Binds what is made of columns, rather than their values."""
    if source.derivation is not None:
        return _bind_derived(tensor, source.columns[0], source.derivation)
    return _bind_example(tensor, source, schema)


def _bind_columns(tensor: TensorSpec, source: ColumnSource, schema: pa.Schema) -> BoundInput | str:
    if source.derivation is not None or source.as_example:
        return _bind_computed(tensor, source, schema)
    twice = [name for name in source.columns if schema.names.count(name) > 1]
    if twice:
        return f"input {tensor}: the data have several columns called {twice[0]!r}; rename them"
    fields = [schema.field(name) for name in source.columns]
    value_types = {value_type(each.type) for each in fields}
    described = ", ".join(f"{field.name} ({field.type})" for field in fields)
    if source.stacked and any(list_length(field.type) is not None for field in fields):
        return f"input {tensor}: only scalar columns can be stacked, got {described}"
    casts = {each: cast_between(each, tensor.dtype) for each in value_types}
    impossible = [str(each) for each, cast in casts.items() if cast is None]
    if impossible:
        return f"input {tensor} cannot take {described}: there is no cast from {', '.join(impossible)} to {tensor.dtype} that keeps the values; convert with --preprocess"
    length = len(fields) if source.stacked else list_length(fields[0].type)
    if tensor.is_dense:
        row_shape = fit_row(tensor.shape, length)
    else:
        row_shape = None if source.stacked else fit_list(tensor, fields[0].type)
    if row_shape is None:
        return f"input {tensor} cannot take {described}: one row would be {_words(source, fields)}; choose columns with --input_map={tensor.name}=..., or reshape with --preprocess"
    widest = max((cast for cast in casts.values() if cast is not None), key=lambda cast: cast.value)
    return BoundInput(tensor=tensor, columns=source.columns, row_shape=row_shape, cast=widest)


def _words(source: ColumnSource, fields: Sequence[pa.Field]) -> str:
    if source.stacked:
        return f"{len(fields)} values"
    return row_words(fields[0].type)


def _unfeedable(tensor: TensorSpec) -> str:
    """Says why an input cannot be fed whatever the data are."""
    if tensor.encoding is Encoding.UNTOLD:
        return f"input {tensor.name!r} may be a part of a ragged or sparse tensor, or a tensor of its own: the function that would tell was not saved; make it an attribute of the module that is saved, or name its TensorSpecs, and export again"
    kind = (
        "composite" if tensor.is_dense else f"{tensor.encoding.value} {format_shape(tensor.shape)}"
    )
    return f"input {tensor.name!r} is {kind}, which is no list of values for each row; export a signature with a padded input, or one that takes serialized Examples"


def _unbound(tensor: TensorSpec, schema: pa.Schema, *, only_input: bool) -> str:
    hint = _mapping_hint(tensor, schema, only_input=only_input)
    if only_input and _is_string_vector(tensor):
        hint += ", or example(*) if it takes serialized Examples"
    return f"input {tensor} has no column of that name; {hint}"


def _mapping_hint(tensor: TensorSpec, schema: pa.Schema, *, only_input: bool) -> str:
    fitting = [
        name
        for name in schema.names
        if isinstance(
            _bind_columns(tensor, ColumnSource(columns=(name,), stacked=False), schema), BoundInput
        )
    ]
    if only_input and len(fitting) == 1:
        return f"give --input_map={tensor.name}={fitting[0]}"
    near = difflib.get_close_matches(tensor.name, fitting or schema.names, n=3, cutoff=0.5)
    if near:
        return f"the closest: {', '.join(near)}; give --input_map={tensor.name}={near[0]}"
    choices = _listed((fitting or schema.names)[:10]) or "none"
    if only_input and (stack := _stack_hint(tensor, schema)):
        return f"give --input_map={tensor.name}={stack}"
    return f"give --input_map={tensor.name}=COLUMN, with one of: {choices}"


def _stack_hint(tensor: TensorSpec, schema: pa.Schema) -> str | None:
    """Returns `[c1,...,ck]` when exactly k numeric columns would fill a `[None, k]` input."""
    if tensor.shape is None or len(tensor.shape) != 2 or not tensor.shape[1]:
        return None
    numeric = [field.name for field in schema if pa.types.is_floating(value_type(field.type))]
    return f"[{','.join(numeric)}]" if len(numeric) == tensor.shape[1] else None


def closest(name: str, names: Sequence[str]) -> str:
    """Returns `; did you mean 'x'?` for the nearest of `names`, or what there is."""
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if near:
        return f"; did you mean {near[0]!r}?"
    listed = _listed(list(names)[:20])
    return f"; there are: {listed}" if listed else "; there are none"


def _listed(names: Sequence[str]) -> str:
    """Returns the names for a message, which those of a damaged file should not fill."""
    shown = (name if len(name) <= _MAX_SHOWN else f"{name[:_MAX_SHOWN]}..." for name in names)
    return ", ".join(name if name.isprintable() else repr(name) for name in shown)

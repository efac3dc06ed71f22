"""`--input_map`: which columns feed which signature input."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from servable_core.batching.padding import Derivation
from servable_core.errors import InvalidArgumentError
from servable_core.servables.signature import SignatureSpec

_DERIVED = re.compile(r"(mask|len)\((.+)\)")
_EXAMPLE = re.compile(r"example\((.*)\)")
ALL_COLUMNS = "*"


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnSource:
    """Where one input's values come from.

    Attributes:
        columns: One column, or several that are stacked side by side into a matrix, or that are the
            features of an Example, of which `*` alone stands for all that there are.
        stacked: Whether the user wrote a list, `[c1,c2]`; a list of one column is a matrix, too.
        derivation: What of the column is fed, `mask(c)` or `len(c)`; None for its values.
        as_example: Whether the columns are encoded, `example(c1,c2)`: a serialized Example a row.
    """

    columns: tuple[str, ...]
    stacked: bool
    derivation: Derivation | None = None
    as_example: bool = False


def parse_input_map(entries: Sequence[str]) -> dict[str, ColumnSource]:
    """Parses `--input_map`, `tensor=SOURCE` entries.

    A source is `column`, `[c1,c2,...]`, `mask(column)`, `len(column)`, `example(c1,c2,...)` or `example(*)`.

    Raises:
        InvalidArgumentError: An entry has another form, or names a tensor again.
    """
    sources: dict[str, ColumnSource] = {}
    for entry in entries:
        tensor, separator, source = entry.partition("=")
        if not separator or not tensor.strip() or not source.strip():
            raise InvalidArgumentError(
                f"--input_map={entry} is not of the form tensor=column, tensor=[column1,column2], tensor=mask(column), tensor=len(column) or tensor=example(column1,column2)"
            )
        if tensor.strip() in sources:
            raise InvalidArgumentError(f"--input_map names the input {tensor.strip()!r} twice")
        sources[tensor.strip()] = _parse_source(entry, source.strip())
    return sources


def _parse_source(entry: str, source: str) -> ColumnSource:
    derived = _DERIVED.fullmatch(source)
    if derived:
        column = derived[2].strip()
        return ColumnSource(columns=(column,), stacked=False, derivation=Derivation(derived[1]))
    encoded = _EXAMPLE.fullmatch(source)
    if encoded:
        return _parse_example(entry, encoded[1])
    if not source.startswith("["):
        return ColumnSource(columns=(source,), stacked=False)
    names = tuple(name.strip() for name in source.removeprefix("[").removesuffix("]").split(","))
    if not source.endswith("]") or not all(names):
        raise InvalidArgumentError(
            f"--input_map={entry}: a list of columns is written tensor=[column1,column2]"
        )
    return ColumnSource(columns=names, stacked=True)


def _parse_example(entry: str, listed: str) -> ColumnSource:
    names = tuple(name.strip() for name in listed.split(","))
    if not all(names):
        raise InvalidArgumentError(
            f"--input_map={entry}: an Example of columns is written tensor=example(column1,column2), or tensor=example(*) for all"
        )
    return ColumnSource(columns=names, stacked=False, as_example=True)


def padded_columns(input_map: Mapping[str, ColumnSource]) -> frozenset[str]:
    """Returns the columns whose rows are padded, because their mask or lengths are wanted."""
    return frozenset(each.columns[0] for each in input_map.values() if each.derivation is not None)


def numeric_columns(
    signatures: Iterable[SignatureSpec], input_map: Mapping[str, ColumnSource]
) -> frozenset[str]:
    """Returns the columns whose values are fed to inputs of numbers, whether there are such or not."""
    names = {
        tensor.name
        for signature in signatures
        for tensor in signature.inputs
        if tensor.dtype not in ("string", "bool")
    }
    sources = [input_map.get(name, ColumnSource(columns=(name,), stacked=False)) for name in names]
    return frozenset(
        column for source in sources if source.derivation is None for column in source.columns
    )


def parse_pad_values(entries: Sequence[str]) -> dict[str, str]:
    """Parses `--pad_values`, `tensor=value` entries.

    Raises:
        InvalidArgumentError: An entry has another form, or names a tensor again.
    """
    values: dict[str, str] = {}
    for entry in entries:
        tensor, separator, value = entry.partition("=")
        if not separator or not tensor:
            raise InvalidArgumentError(f"--pad_values={entry} is not of the form tensor=value")
        if tensor in values:
            raise InvalidArgumentError(f"--pad_values names the input {tensor!r} twice")
        values[tensor] = value
    return values


def parse_renames(entries: Sequence[str]) -> Mapping[str, str]:
    """Parses `--output_tensors`: `name` keeps an output, `old=new` keeps and renames it.

    Returns:
        Column name by output name, in the order given.
    """
    renames: dict[str, str] = {}
    for entry in entries:
        output, separator, column = entry.partition("=")
        if not output or (separator and not column):
            raise InvalidArgumentError(
                f"--output_tensors={entry} is not of the form output or output=column"
            )
        if output in renames:
            raise InvalidArgumentError(f"--output_tensors names the output {output!r} twice")
        renames[output] = column or output
    return renames

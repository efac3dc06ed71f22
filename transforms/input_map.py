"""`--input_map`: which columns feed which signature input."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from servable_core.errors import InvalidArgumentError


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnSource:
    """Where one input's values come from.

    Attributes:
        columns: One column, or several that are stacked side by side into a matrix.
        stacked: Whether the user wrote a list, `[c1,c2]`; a list of one column is a matrix, too.
    """

    columns: tuple[str, ...]
    stacked: bool


def parse_input_map(entries: Sequence[str]) -> dict[str, ColumnSource]:
    """Parses `tensor=column` and `tensor=[c1,c2,...]`.

    Raises:
        InvalidArgumentError: An entry has another form, or names a tensor again.
    """
    sources: dict[str, ColumnSource] = {}
    for entry in entries:
        tensor, separator, source = entry.partition("=")
        if not separator or not tensor.strip() or not source.strip():
            raise InvalidArgumentError(
                f"--input_map={entry} is not of the form tensor=column or tensor=[column1,column2]"
            )
        if tensor.strip() in sources:
            raise InvalidArgumentError(f"--input_map names the input {tensor.strip()!r} twice")
        sources[tensor.strip()] = _parse_source(entry, source.strip())
    return sources


def _parse_source(entry: str, source: str) -> ColumnSource:
    if not source.startswith("["):
        return ColumnSource(columns=(source,), stacked=False)
    names = tuple(name.strip() for name in source.removeprefix("[").removesuffix("]").split(","))
    if not source.endswith("]") or not all(names):
        raise InvalidArgumentError(
            f"--input_map={entry}: a list of columns is written tensor=[column1,column2]"
        )
    return ColumnSource(columns=names, stacked=True)


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

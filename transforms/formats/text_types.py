"""Column types of text files, which do not say their types themselves: guessed, and then agreed on."""

import base64
from collections.abc import Sequence

import pyarrow as pa

from servable_core.errors import InvalidArgumentError

_BINARY_PREFIX = "arrow:"


def agreed_types(
    described: Sequence[tuple[str, pa.Schema]], *, all_is_text: bool
) -> dict[str, pa.DataType]:
    """Returns for each column the type that can hold its values in all files.

    Whole numbers and fractions agree on float64, a column without values on whatever others have.

    Args:
        described: Each file's path, and the types guessed from its first rows.
        all_is_text: Whether values of several types are strings as well, as in CSV.

    Raises:
        InvalidArgumentError: The types of a column cannot be brought together.
    """
    agreed: dict[str, pa.DataType] = {}
    first_path: dict[str, str] = {}
    for path, schema in described:
        for field in schema:
            known = agreed.setdefault(field.name, field.type)
            first_path.setdefault(field.name, path)
            common = common_type(known, field.type)
            if common is None and all_is_text:
                common = pa.string()
            if common is None:
                raise InvalidArgumentError(
                    f"column {field.name!r} is {known} in {first_path[field.name]} and {field.type} in {path}; write it with one type"
                )
            agreed[field.name] = common
    return agreed


def common_type(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """Returns the narrowest type that holds the values of both, or None."""
    types = pa.types
    if one == other or types.is_null(other):
        return one
    if types.is_null(one):
        return other
    if types.is_list(one) and types.is_list(other):
        inner = common_type(one.value_type, other.value_type)
        return None if inner is None else pa.list_(inner)
    for wide, narrow in ((pa.float64(), pa.int64()), (pa.binary(), pa.string())):
        if {one, other} == {wide, narrow}:
            return wide
    return None


def type_to_text(data_type: pa.DataType) -> str:
    """Returns a text from which `type_from_text` makes the same type again."""
    text = str(data_type)
    if _parsed(text) == data_type:
        return text
    schema = pa.schema([("", data_type)]).serialize()
    return _BINARY_PREFIX + base64.b64encode(schema).decode("ascii")


def type_from_text(text: str) -> pa.DataType:
    """Returns the type that `type_to_text` has made `text` of."""
    if text.startswith(_BINARY_PREFIX):
        encoded = base64.b64decode(text.removeprefix(_BINARY_PREFIX))
        return pa.ipc.read_schema(pa.py_buffer(encoded)).field(0).type
    data_type = _parsed(text)
    if data_type is None:
        raise ValueError(f"{text!r} is no Arrow type")
    return data_type


def _parsed(text: str) -> pa.DataType | None:
    start, end = "list<item: ", ">"
    if text.startswith(start) and text.endswith(end):
        inner = _parsed(text.removeprefix(start).removesuffix(end))
        return None if inner is None else pa.list_(inner)
    try:
        return pa.type_for_alias(text)
    except ValueError:
        return None

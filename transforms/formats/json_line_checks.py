"""What is wrong with a line of JSON, told by Python's parser: for lines among which Arrow refuses some.

Arrow decides which lines are good, but is slow to tell which of many are bad. So whatever is named
here Arrow refuses as well; what is not, it may still refuse.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from transforms.formats.json_depth import is_nested_deeper

MAX_DEPTH = 100
TOO_DEEP = f"it is nested deeper than {MAX_DEPTH} levels"
NO_OBJECT = "it is no object"
NO_UTF8 = "it is not UTF-8"
BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r\n"
# Arrow takes more spellings of these than Python does.
_NOT_NUMBERS = ("Inf", "NaN")
_MAX_INTS = {pa.int64(): 2**63 - 1, pa.int32(): 2**31 - 1}
# What values of a type may be.
_KINDS: tuple[tuple[Callable[[pa.DataType], bool], tuple[type, ...]], ...] = (
    (pa.types.is_floating, (int, float)),
    (pa.types.is_boolean, (bool,)),
    (pa.types.is_string, (str,)),
    (pa.types.is_null, ()),
)
_WORDS = {
    bool: "a bool",
    int: "a whole number",
    float: "a fraction",
    str: "a string",
    list: "a list",
    dict: "an object",
}
_Check = Callable[[Any], str | None]


class LineChecks:
    """Checks lines for a schema; without one, only whether they are objects."""

    def __init__(self, schema: pa.Schema | None) -> None:
        fields = [] if schema is None else list(schema)
        checks = {field.name: _check_of(field.type) for field in fields}
        self._checks = {name: check for name, check in checks.items() if check is not None}

    def wrong_with(self, line: bytes) -> str | None:
        """Returns what is wrong with a line that is not blank, or None if nothing is found."""
        try:
            row = _object(line)
        except _WrongLineError as error:
            return str(error)
        except ValueError:  # what Arrow may take, though Python does not
            return None
        return self._wrong_value(row)

    def _wrong_value(self, row: Mapping[str, Any]) -> str | None:
        for name, check in self._checks.items():
            value = row.get(name)
            if value is not None and (wrong := check(value)):
                return f"key {name!r} {wrong}"
        return None


class _WrongLineError(Exception):
    """A line is no JSON object; the message is why."""


def _object(line: bytes) -> dict[str, Any]:
    try:
        text = line.removeprefix(BOM).strip(_BLANK).decode()
    except UnicodeDecodeError:
        raise _WrongLineError(NO_UTF8) from None
    if not text.startswith("{"):
        raise _WrongLineError(NO_OBJECT)
    if text.count("[") + text.count("{") > MAX_DEPTH and is_nested_deeper(line, MAX_DEPTH):
        raise _WrongLineError(TOO_DEEP)
    try:
        row: dict[str, Any] = json.loads(text)
    except json.JSONDecodeError as error:
        if any(each in text for each in _NOT_NUMBERS):
            raise
        reason = error.msg.removesuffix(" at")
        words = f"it is no line with one whole JSON object: {reason} at character {error.pos}"
        raise _WrongLineError(words) from None
    if "\\u" in text:
        _check_surrogates(row)
    return row


def _check_surrogates(row: dict[str, Any]) -> None:
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise _WrongLineError("it has half of a surrogate pair") from None


def _check_of(data_type: pa.DataType) -> _Check | None:
    """Returns what tells values that are not of a type; None where only Arrow can tell."""
    if data_type in _MAX_INTS:
        return _int_check(data_type, _MAX_INTS[data_type])
    if pa.types.is_list(data_type):
        return _list_check(data_type, _check_of(data_type.value_type))
    kinds = next((kinds for is_such, kinds in _KINDS if is_such(data_type)), None)
    return None if kinds is None else _kind_check(data_type, kinds)


def _kind_check(data_type: pa.DataType, kinds: tuple[type, ...]) -> _Check:
    def check(value: Any) -> str | None:
        if type(value) in kinds:  # a bool is no int here
            return None
        return f"is {_WORDS[type(value)]}, where its column has {data_type}"

    return check


def _int_check(data_type: pa.DataType, max_value: int) -> _Check:
    check_kind = _kind_check(data_type, (int,))

    def check(value: Any) -> str | None:
        wrong = check_kind(value)
        if wrong is None and not -max_value <= value + (value < 0) <= max_value:
            return f"is a number out of the range of {data_type}"
        return wrong

    return check


def _list_check(data_type: pa.DataType, check_item: _Check | None) -> _Check:
    check_kind = _kind_check(data_type, (list,))

    def check(value: Any) -> str | None:
        wrong = check_kind(value)
        if wrong is not None or check_item is None:
            return wrong
        found = (check_item(each) for each in value if each is not None)
        wrong = next((each for each in found if each is not None), None)
        return None if wrong is None else f"has a value that {wrong}"

    return check

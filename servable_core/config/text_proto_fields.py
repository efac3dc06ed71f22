"""Where the fields of a text proto stand in its text, so that one can be changed and no other.

Reads only texts that the real parser has read: it knows no types, and finds no mistakes.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

# Space and comments are matched first and dropped; then brackets and marks, strings, words.
_TOKEN = re.compile(
    r"""\s+|\#[^\n]*|(?P<part>[{}<>\[\]:,;]|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^\s{}<>\[\]:,;\#"']+)"""
)
_CLOSING = {"{": "}", "<": ">"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Value:
    """A value of a field: a message, or anything else.

    Attributes:
        start: Where it begins; a message at its bracket.
        end: Behind its last character.
        fields: Of a message; empty for anything else.
    """

    start: int
    end: int
    fields: "tuple[Field, ...]" = ()

    def values_of(self, name: str) -> "list[Value]":
        """Returns all values of the fields called `name`, in their order."""
        return [value for each in self.fields if each.name == name for value in each.values]


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """A field as it is written.

    Attributes:
        name: Its name.
        start: Where it begins.
        end: Behind its last character, or the comma behind it.
        values: One, or those of a list.
    """

    name: str
    start: int
    end: int
    values: tuple[Value, ...]


def read_fields(text: str) -> Value:
    """Returns the message that a whole text is."""
    return Value(start=0, end=len(text), fields=tuple(_Reader(text).fields("")))


class _Reader:
    """Reads tokens from the front."""

    def __init__(self, text: str) -> None:
        self._tokens = [each for each in _TOKEN.finditer(text) if each["part"] is not None]
        self._place = 0

    def fields(self, closing: str) -> Iterator[Field]:
        """Yields fields up to a closing bracket, or to the end; the bracket is not taken."""
        while self._next() not in {"", closing}:
            yield self._field()

    def _field(self) -> Field:
        name = self._take()
        if self._next() == ":":
            self._take()
        values = list(self._list()) if self._next() == "[" else [self._value()]
        end = self._tokens[self._place - 1].end()
        if self._next() in {",", ";"}:
            end = self._take().end()
        return Field(name=name["part"], start=name.start(), end=end, values=tuple(values))

    def _list(self) -> Iterator[Value]:
        self._take()
        while self._next() not in {"", "]"}:
            yield self._value()
            if self._next() == ",":
                self._take()
        self._take()

    def _value(self) -> Value:
        first = last = self._take()
        fields: tuple[Field, ...] = ()
        if first["part"] in _CLOSING:
            fields = tuple(self.fields(_CLOSING[first["part"]]))
            last = self._take()
        elif first["part"][0] in "\"'":
            while self._next()[:1] in {'"', "'"}:  # strings side by side are one
                last = self._take()
        elif first["part"] == "-":
            last = self._take()
        return Value(start=first.start(), end=last.end(), fields=fields)

    def _next(self) -> str:
        return self._tokens[self._place]["part"] if self._place < len(self._tokens) else ""

    def _take(self) -> re.Match[str]:
        token = self._tokens[self._place]
        self._place += 1
        return token

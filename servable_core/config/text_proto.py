"""Reads text protos with errors that name a line and what was expected there."""

import difflib
import re
from typing import Any, TypeVar

from servable_core.errors import InvalidArgumentError, NotFoundError
from servable_core.runtime.file_system import FileSystem

MessageT = TypeVar("MessageT")

# Comments and strings are matched first, so that no bracket in them counts.
_TOKEN = re.compile(r"""#[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|[{}<>]""")


def read_text(path: str, file_system: FileSystem, *, what: str) -> str:
    """Returns the text of the file at `path`, which messages call a `what`.

    Raises:
        NotFoundError: There is no such file.
        InvalidArgumentError: It is a directory, or not UTF-8.
    """
    try:
        with file_system.open(path) as stream:
            return stream.read().decode()
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no {what} at {path}") from error
    except IsADirectoryError as error:
        raise InvalidArgumentError(
            f"the {what} {path} is a directory; expected a text proto"
        ) from error
    except UnicodeDecodeError as error:
        raise InvalidArgumentError(f"{path}: expected a text proto in UTF-8, got bytes") from error


def parse_text_proto(text: str, message: MessageT, place: str) -> MessageT:
    """Fills `message` from `text` and returns it.

    Args:
        text: A text proto.
        message: An empty message of the type expected.
        place: File name, for messages.

    Raises:
        InvalidArgumentError: It does not parse; names the line and what was expected.
    """
    from google.protobuf import text_format

    try:
        text_format.Parse(text, message)
    except text_format.ParseError as error:
        line = error.GetLine()
        where = f"{place}:{line}" if line else place
        raise InvalidArgumentError(f"{where}: {_explain(error, text, message)}") from error
    return message


def lines_at_depth(text: str, depth: int) -> list[int]:
    """Returns the line of each opening bracket of a message at `depth`, 1 for the outermost.

    Parsed messages do not know their lines; the n-th message at a depth is the n-th bracket.
    """
    lines, level = [], 0
    for token in _TOKEN.finditer(text):
        if token[0] in "{<":
            level += 1
            if level == depth:
                lines.append(text.count("\n", 0, token.start()) + 1)
        elif token[0] in "}>":
            level -= 1
    return lines


def _explain(error: Any, text: str, message: Any) -> str:
    # The parser begins with "line:column : ", and often quotes the whole line.
    problem = re.sub(r"^\d+:\d+ : ", "", str(error))
    for quoted in text.splitlines()[max(0, (error.GetLine() or 0) - 1) :][:1]:
        problem = problem.removeprefix(f"'{quoted}': ")
    unknown = re.search(r'Message type "([\w.]+)" has no field named "(\w+)"', problem)
    if unknown is None:
        return problem
    fields = _field_names(message.DESCRIPTOR, unknown[1])
    near = difflib.get_close_matches(unknown[2], fields, n=1)
    meant = f"; did you mean {near[0]!r}?" if near else ""
    return f"{unknown[1].rsplit('.', 1)[-1]} has no field {unknown[2]!r}; expected {', '.join(fields)}{meant}"


def _field_names(descriptor: Any, full_name: str) -> list[str]:
    found = descriptor.file.pool.FindMessageTypeByName(full_name)
    return [field.name for field in found.fields]

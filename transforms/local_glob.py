"""Files of this machine that match a glob, as Beam understands globs, without waiting for Beam's import.

`*` is any text within a name, `**` any text, `?` one character, `[ab]` and `[!ab]` one of those or of
all others. Nothing quotes these signs. A bracket that no other closes stands for itself.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from servable_core.errors import InvalidArgumentError, NotFoundError
from servable_core.runtime.file_system import FileInfo
from transforms.storage import stat_file

# A set begins with what may be its own end: `[]a]` and `[!]a]` have a bracket in them, `[]` is no set.
_SIGN = re.compile(r"\*\*|\*|\?|\[(!?+)(\]?+[^\]]*)\]")


def match_local(pattern: str) -> list[FileInfo]:
    """Returns the files that match an absolute glob, or the file of that name, sorted.

    Raises:
        InvalidArgumentError: It is no glob.
        NotFoundError: A link that matches leads to no file.
    """
    first = _SIGN.search(pattern)
    if first is None:
        exact = stat_file(pattern)
        return [] if exact is None else [exact]
    expression = glob_expression(pattern)
    root = pattern[: first.start()].rpartition("/")[0] or "/"
    depth = None if "**" in pattern or "?" in pattern or "[" in pattern else pattern.count("/")
    found = (path for path in _files_below(root, depth) if expression.fullmatch(path))
    return sorted(_described(path) for path in found)


def glob_expression(pattern: str) -> re.Pattern[str]:
    """Returns what matches, as a whole, the paths that a glob does.

    Raises:
        InvalidArgumentError: A range in it ends before it begins.
    """
    parts, end = [], 0
    for sign in _SIGN.finditer(pattern):
        parts += [re.escape(pattern[end : sign.start()]), _expression(sign)]
        end = sign.end()
    try:
        return re.compile("".join([*parts, re.escape(pattern[end:])]), re.DOTALL)
    except re.error as error:
        raise InvalidArgumentError(
            f"{pattern} is no glob ({error.msg}); a range in brackets is written from its lower end, as [a-c]"
        ) from error


def _expression(sign: re.Match[str]) -> str:
    fixed = {"**": ".*", "*": r"[^/\\]*", "?": "."}.get(sign[0])
    if fixed is not None:
        return fixed
    negation, members = sign.groups()
    escaped = members.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")
    return f"[{'^' if negation else ''}{escaped.replace('^', chr(92) + '^')}]"


def _files_below(root: str, depth: int | None) -> Iterator[str]:
    """Yields the paths below a directory with `depth` slashes; all if that is None."""
    for directory, subdirectories, names in os.walk(root):
        inside = directory.rstrip("/") + "/"
        if depth is not None and inside.count("/") >= depth:
            subdirectories.clear()
        yield from (f"{inside}{name}" for name in names)


def _described(path: str) -> FileInfo:
    file = stat_file(path)
    if file is None:
        raise NotFoundError(
            f"{path} is a link to nothing, or was deleted just now: {Path(path).name}"
        )
    return file

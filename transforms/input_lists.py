"""Files that list inputs: `--input=@train.txt` stands for the paths and globs in train.txt."""

from collections.abc import Iterable, Iterator

from servable_core.errors import InvalidArgumentError, NotFoundError
from transforms.storage import absolute_path, read_bytes

LIST_SIGN = "@"
_COMMENT = "#"


def expand_lists(patterns: Iterable[str]) -> Iterator[str]:
    """Yields the patterns, and in place of each `@FILE` the lines of that file.

    Blank lines and those that begin with `#` are left out. Relative paths mean in there what they
    mean on the command line. A file whose own name begins with `@` is written `./@name`.

    Raises:
        NotFoundError: A list is not there.
        InvalidArgumentError: A list is no UTF-8, is empty, or names another list.
    """
    for pattern in patterns:
        if pattern.startswith(LIST_SIGN):
            yield from _listed(pattern)
        else:
            yield pattern


def _listed(pattern: str) -> list[str]:
    path = absolute_path(pattern.removeprefix(LIST_SIGN))
    lines = [line.strip() for line in _text(pattern, path).splitlines()]
    patterns = [line for line in lines if line and not line.startswith(_COMMENT)]
    if not patterns:
        raise InvalidArgumentError(
            f"--input={pattern}: {path} lists nothing; write a path or glob on each line"
        )
    for each in patterns:
        if each.startswith(LIST_SIGN):
            raise InvalidArgumentError(
                f"--input={pattern}: {path} names another list, {each}; give that as a second --input"
            )
    return patterns


def _text(pattern: str, path: str) -> str:
    try:
        content = read_bytes(path)
        if content is None:
            raise NotFoundError(
                f"--input={pattern}: there is no file {path}; @ is for a file that lists inputs"
            )
        return content.decode("utf-8-sig")
    except (UnicodeDecodeError, IsADirectoryError) as error:
        raise InvalidArgumentError(
            f"--input={pattern}: {path} is no text file; write a path or glob on each line"
        ) from error

"""Finds the rows that a parser refuses, where it takes or refuses many rows at a time.

All rows are tried at once. A stretch that is refused is halved until its first bad row is found;
behind that, stretches grow from one row by doubling. So a bad row costs about 2 log2(n) calls, where
n is how many rows behind the last one it comes; one call where all rows are bad. And however many are
bad, each row is parsed a few times at most for each of them that is near.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

R = TypeVar("R")


@dataclass(slots=True)  # not frozen, which would make it slow to make
class Stretch(Generic[R]):
    """Rows [start, stop), and what came of them: a result, or the error of the one row that is bad."""

    start: int
    stop: int
    result: R | None = None
    error: Exception | None = None


def parse_stretches(
    parse: Callable[[int, int], R], num_rows: int, refusals: tuple[type[Exception], ...]
) -> Iterator[Stretch[R]]:
    """Yields all rows in order: stretches that are taken, and each bad row by itself.

    Args:
        parse: Given start and stop, parses these rows; whether it takes a row must not depend on
            the rows beside it.
        num_rows: How many rows there are.
        refusals: What `parse` raises if one of them is bad; other errors pass through.
    """
    position, size = 0, num_rows
    bad_stop: int | None = None  # there is a bad row in [position, bad_stop)
    while position < num_rows:
        if bad_stop is None:
            stop = min(num_rows, position + size)
        else:
            stop = position + max(1, (bad_stop - position) // 2)
        try:
            result = parse(position, stop)
        except refusals as error:
            if stop - position > 1:
                bad_stop = stop
                continue
            yield Stretch(position, stop, error=error)
            bad_stop, size = None, 1
        else:
            yield Stretch(position, stop, result=result)
            size = 2 * (stop - position)
        position = stop

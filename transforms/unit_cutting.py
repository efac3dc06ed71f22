"""Cuts the input into units: small files together, big ones apart. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from servable_core.errors import InvalidArgumentError
from transforms.unit_table import Unit, UnitRange


@dataclass(frozen=True, kw_only=True, slots=True)
class UnitBounds:
    """Upper bounds of a unit; a single row group or file that is larger makes a unit of its own.

    Attributes:
        max_bytes: Input bytes of a unit.
        max_rows: Rows of a unit.
    """

    max_bytes: int = 64 << 20
    max_rows: int = 1_000_000

    def __post_init__(self) -> None:
        if self.max_bytes < 1:
            raise InvalidArgumentError(f"--unit_bytes must be positive, got {self.max_bytes}")
        if self.max_rows < 1:
            raise InvalidArgumentError(f"--unit_rows must be positive, got {self.max_rows}")


def cut_units(pieces: Iterable[UnitRange], bounds: UnitBounds) -> tuple[Unit, ...]:
    """Puts consecutive pieces together until a bound is met; order is kept, nothing is split.

    Args:
        pieces: Indivisible stretches (a row group, a TFRecord file or a part of one) in reading
            order.
        bounds: Upper bounds.

    Returns:
        Units numbered from 0. Neighbouring row groups of one file are joined to one range.
    """
    grouped = _group(pieces, bounds)
    return tuple(Unit(index=index, ranges=tuple(_join(each))) for index, each in enumerate(grouped))


def _group(pieces: Iterable[UnitRange], bounds: UnitBounds) -> Iterator[list[UnitRange]]:
    group: list[UnitRange] = []
    size_bytes = rows = 0
    for piece in pieces:
        piece_rows = max(piece.num_rows, 0)
        too_large = (
            size_bytes + piece.size_bytes > bounds.max_bytes or rows + piece_rows > bounds.max_rows
        )
        if group and too_large:
            yield group
            group, size_bytes, rows = [], 0, 0
        group.append(piece)
        size_bytes += piece.size_bytes
        rows += piece_rows
    if group:
        yield group


def _join(pieces: list[UnitRange]) -> Iterator[UnitRange]:
    joined = pieces[0]
    for piece in pieces[1:]:
        if _are_neighbours(joined, piece):
            joined = replace(
                joined,
                end_group=piece.end_group,
                num_rows=joined.num_rows + piece.num_rows,
                size_bytes=joined.size_bytes + piece.size_bytes,
            )
        else:
            yield joined
            joined = piece
    yield joined


def _are_neighbours(one: UnitRange, other: UnitRange) -> bool:
    """Whether these are row groups of one file, one behind the other."""
    has_groups = one.end_group > one.first_group
    return has_groups and (one.file_index, one.end_group) == (other.file_index, other.first_group)


def limit_rows(pieces: Iterable[UnitRange], limit: int | None) -> Iterator[UnitRange]:
    """Yields the pieces that hold the first `limit` rows, the last one shortened; None keeps all."""
    left = limit
    for piece in pieces:
        if left is None:
            yield piece
            continue
        if left <= 0:
            return
        if piece.num_rows == -1:  # damaged: only reading tells how many are left
            yield piece
            continue
        kept = min(left, piece.num_rows)
        left -= kept
        share = piece.size_bytes * kept // max(piece.num_rows, 1)
        yield replace(piece, num_rows=kept, size_bytes=share)

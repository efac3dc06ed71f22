"""Cuts the rows of a unit into batches: at fixed rows, or where it saves copies and memory."""

from collections.abc import Callable, Iterable, Iterator

from transforms.input_batch import InputBatch, concat_batches

_MAX_PENDING = 64


def rebatch_exactly(batches: Iterable[InputBatch], batch_rows: int) -> Iterator[InputBatch]:
    """Yields the same rows in batches of exactly `batch_rows`; only the last may be smaller.

    Batches are thereby cut at fixed offsets of the unit, however the files are laid out.
    """
    pending: list[InputBatch] = []
    pending_rows = 0
    for batch in batches:
        start = 0
        while batch.num_rows - start >= batch_rows - pending_rows:
            stop = start + batch_rows - pending_rows
            yield concat_batches([*pending, batch.slice(start, stop)])
            pending, pending_rows, start = [], 0, stop
        if start < batch.num_rows:
            pending.append(batch.slice(start, batch.num_rows))
            pending_rows += batch.num_rows - start
    if pending:
        yield concat_batches(pending)


def rebatch_cheaply(
    batches: Iterable[InputBatch], batch_rows: Callable[[], int], max_bytes: int
) -> Iterator[InputBatch]:
    """Yields the same rows in batches of at most `batch_rows`, and `max_bytes` if of several rows.

    `batch_rows` is asked for each batch read, so the size may change on the way; what was kept for
    a larger one goes as it is. Full batches are passed on uncopied, also behind a short one: that is
    a batch of its own if it is at least half full, and otherwise joined to half of the next.
    """
    pending: list[InputBatch] = []
    for batch in batches:
        size = batch_rows()
        for piece in _small_pieces(batch, max_bytes):
            *complete, last = _with_pending(pending, piece, size, max_bytes)
            yield from map(concat_batches, complete)
            pending = last
            if _num_rows(pending) >= size:
                yield concat_batches(pending)
                pending = []
            if len(pending) == _MAX_PENDING:
                pending = [concat_batches(pending)]
    if pending:
        yield concat_batches(pending)


def _with_pending(
    pending: list[InputBatch], piece: InputBatch, batch_rows: int, max_bytes: int
) -> Iterator[list[InputBatch]]:
    """Yields lists that make a batch each when joined; the last one may take more rows."""
    num_rows = _num_rows(pending)
    too_large = sum(each.size_bytes for each in pending) + piece.size_bytes > max_bytes
    if num_rows + piece.num_rows <= batch_rows and not (pending and too_large):
        yield [*pending, piece]
        return
    taken = 0
    if pending and (too_large or 2 * num_rows >= batch_rows):
        yield pending
    elif pending:
        taken = batch_rows // 2 if piece.num_rows >= batch_rows else batch_rows - num_rows
        yield [*pending, piece.slice(0, taken)]
    for start in range(taken, piece.num_rows, batch_rows):
        yield [piece.slice(start, min(start + batch_rows, piece.num_rows))]


def _small_pieces(batch: InputBatch, max_bytes: int) -> Iterator[InputBatch]:
    """Yields the batch in halves of halves until each is a single row or small enough."""
    if batch.size_bytes <= max_bytes or batch.num_rows == 1:
        if batch.num_rows:
            yield batch
        return
    middle = batch.num_rows // 2
    yield from _small_pieces(batch.slice(0, middle), max_bytes)
    yield from _small_pieces(batch.slice(middle, batch.num_rows), max_bytes)


def _num_rows(batches: Iterable[InputBatch]) -> int:
    return sum(each.num_rows for each in batches)

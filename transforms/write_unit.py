"""Writes the parts of one unit, one file per model, visible only when all are complete."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from transforms.formats.part_writer import CreateWriter, PartWriter
from transforms.storage import create_file


@contextmanager
def part_writers(
    output: str, paths: Sequence[str], create: Sequence[CreateWriter]
) -> Iterator[list[PartWriter]]:
    """Yields a writer for each of `paths`; all files appear when the body is through, or none.

    Files are committed in order, after every one of them has been written to its end; those without
    rows do not appear, and what had their names goes.

    Args:
        output: The output directory, which the paths lie in.
        paths: The parts.
        create: What writes each of them.
    """
    with ExitStack() as stack:
        sinks = [stack.enter_context(create_file(output, path)) for path in reversed(paths)]
        writers = [make(sink) for make, sink in zip(create, reversed(sinks), strict=True)]
        try:
            yield writers
            for writer, sink in zip(writers, reversed(sinks), strict=True):
                writer.close()
                if not writer.rows:
                    sink.withhold()
        except BaseException:
            for writer in writers:
                writer.abandon()
            raise

"""How many rows of each class a version decides how, as text in cells."""

from collections.abc import Iterator
from dataclasses import dataclass

from pipelines.report.content import ReportContent
from pipelines.report.number_format import format_count, printable

_MAX_CLASSES = 20
_NAME_LENGTH = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfusionTable:
    """The confusion matrix of a version.

    Attributes:
        version: The version.
        names: Of the classes.
        counts: Weights of rows, of a label per line and a decision per column.
    """

    version: int
    names: tuple[str, ...]
    counts: tuple[tuple[str, ...], ...]


def confusion_tables(content: ReportContent) -> Iterator[ConfusionTable]:
    """Yields the matrix of each version, where there are few enough classes to be read."""
    for version in content.results.versions:
        curves = content.curves.get(version)
        if curves is None or curves.confusion is None or len(curves.confusion) > _MAX_CLASSES:
            continue
        yield ConfusionTable(
            version=version,
            names=tuple(
                printable(content.class_name(each), _NAME_LENGTH)
                for each in range(len(curves.confusion))
            ),
            counts=tuple(tuple(map(format_count, line)) for line in curves.confusion),
        )

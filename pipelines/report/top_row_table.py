"""The rows on which a candidate differs most from the baseline, as text."""

import math
from dataclasses import dataclass

from pipelines.report.content import ReportContent
from pipelines.report.number_format import NOT_DEFINED, format_change, format_number, printable
from transforms.metrics import Task, TopRow

_DECIMALS = 4
_KEY_LENGTH = 80


@dataclass(frozen=True, kw_only=True, slots=True)
class TopRowLine:
    """A row.

    Attributes:
        key: Its name.
        label: The truth.
        baseline: What the baseline predicts.
        candidate: What the candidate predicts.
        difference: Of the two; of several classes, of the one that differs most.
        is_worse: Whether the candidate is further from the label; None if neither is, or
            there is no label.
    """

    key: str
    label: str
    baseline: str
    candidate: str
    difference: str
    is_worse: bool | None


def top_row_lines(content: ReportContent, candidate: int) -> list[TopRowLine]:
    """Returns the most different rows of a candidate."""
    is_classes = content.task is Task.MULTICLASS
    return [_line(content, each, is_classes) for each in content.top_rows.get(candidate, ())]


def _line(content: ReportContent, row: TopRow, is_classes: bool) -> TopRowLine:
    def shown(value: float) -> str:
        if math.isnan(value):
            return NOT_DEFINED
        return content.class_name(int(value)) if is_classes else format_number(value, _DECIMALS)

    is_whole = float(row.label).is_integer()
    label = format_number(row.label, 0) if is_whole and not is_classes else shown(row.label)
    change = row.difference if is_classes else row.candidate - row.baseline
    show = format_number if is_classes else format_change
    return TopRowLine(
        key=NOT_DEFINED if row.key is None else printable(row.key, _KEY_LENGTH),
        label=printable(label),
        baseline=printable(shown(row.baseline)),
        candidate=printable(shown(row.candidate)),
        difference=show(change, _DECIMALS),
        is_worse=_is_worse(row, is_classes),
    )


def _is_worse(row: TopRow, is_classes: bool) -> bool | None:
    if math.isnan(row.label):
        return None
    misses = (abs(row.baseline - row.label), abs(row.candidate - row.label))
    if is_classes:  # classes are right or not, and not near
        misses = (float(misses[0] > 0), float(misses[1] > 0))
    return None if misses[0] == misses[1] else misses[1] > misses[0]

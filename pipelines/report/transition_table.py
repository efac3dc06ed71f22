"""The most frequent changes of class from the baseline to a candidate, as text."""

from dataclasses import dataclass

from pipelines.report.content import ReportContent
from pipelines.report.number_format import NOT_DEFINED, format_count, printable
from transforms.metrics import Transition

_MAX_LINES = 20
_NAME_LENGTH = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class TransitionLine:
    """A change of class.

    Attributes:
        before: What the baseline decides.
        after: What the candidate decides.
        rows: How many rows change so.
        won: Those that are right now, and were wrong.
        lost: Those that are wrong now, and were right.
    """

    before: str
    after: str
    rows: str
    won: str
    lost: str


def transition_lines(content: ReportContent, candidate: int) -> list[TransitionLine]:
    """Returns the most frequent changes of a candidate; none where there are no classes."""
    found = content.transitions.get(candidate, ())
    is_labelled = content.results.find("accuracy", candidate) is not None
    return [_line(content, each, is_labelled) for each in found[:_MAX_LINES]]


def _line(content: ReportContent, change: Transition, is_labelled: bool) -> TransitionLine:
    return TransitionLine(
        before=printable(content.class_name(change.before), _NAME_LENGTH),
        after=printable(content.class_name(change.after), _NAME_LENGTH),
        rows=format_count(change.weight),
        won=format_count(change.won) if is_labelled else NOT_DEFINED,
        lost=format_count(change.lost) if is_labelled else NOT_DEFINED,
    )

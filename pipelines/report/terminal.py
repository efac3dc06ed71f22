"""The summary that an evaluation prints at its end: verdict, metrics, differences, worst slices."""

import textwrap
from collections.abc import Iterator, Sequence

from pipelines.report.comparison import Comparison, Effect, comparisons
from pipelines.report.content import ReportContent
from pipelines.report.gate_view import headline, reasons
from pipelines.report.highlights import SliceHighlights, highlights
from pipelines.report.metric_groups import main_metrics
from pipelines.report.metric_table import Cell, comparison_cells
from pipelines.report.number_format import counted, printable
from pipelines.report.row_problems import (
    num_problem_rows,
    repeated_keys_warning,
    row_counts,
    small_slices,
)
from transforms.evaluation.verdict import gravity
from transforms.metrics.directions import Direction

_NAME_WIDTH = 38
_NUMBER_WIDTH = 10
_INTERVAL_WIDTH = 22
_LINE_WIDTH = 100
_INDENT = " " * 14
_MAX_REASONS = 3
_MAX_SLICES = 3
_BETTER_BY = {Direction.HIGHER: " (more is better)", Direction.LOWER: " (less is better)"}


def evaluation_summary(content: ReportContent) -> list[str]:
    """Returns the lines, none longer than 100 characters but for names from the data."""
    return [
        *_heading(content),
        *_row_problems(content),
        *_verdicts(content),
        *(
            line
            for each in highlights(content)
            for line in _candidate(content, each.candidate, each.slices)
        ),
        *_alone(content),
    ]


def _heading(content: ReportContent) -> Iterator[str]:
    results = content.results
    scored = sum(each.is_scored for each in results.slices) - 1
    small = len(small_slices(content))
    too_small = f", {small:,} too small" if small else ""
    versions = ", ".join(map(str, results.candidates))
    against = f"{versions} against {results.baseline}" if versions else f"{results.baseline} alone"
    rows = counted(results.slices[0].num_rows, "row")
    name = printable(results.model_name)
    yield f"{name}: {against}; {content.task.value}, {rows}, {counted(scored, 'slice')}{too_small}"


def _row_problems(content: ReportContent) -> Iterator[str]:
    if num_problem_rows(content) > 0:
        yield f"{counted(num_problem_rows(content), 'row')} left out of all versions:"
        for each in row_counts(content)[2:]:
            yield f"  {max(each.counts):,} {each.words}"
    yield from textwrap.wrap(repeated_keys_warning(content), _LINE_WIDTH)


def _verdicts(content: ReportContent) -> Iterator[str]:
    if content.verdict is None:
        return
    yield ""
    for each in sorted(content.verdict.candidates, key=lambda each: -gravity(each.status)):
        yield f"{each.status.value:<13} {headline(content.verdict, each)}"
        said = reasons(each)
        for reason in said[:_MAX_REASONS]:
            yield from _wrapped(reason)
        if len(said) > _MAX_REASONS:
            yield f"{_INDENT}and {counted(len(said) - _MAX_REASONS, 'more reason')}"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        text, _LINE_WIDTH, initial_indent=_INDENT, subsequent_indent=f"{_INDENT}  "
    )


def _candidate(
    content: ReportContent, candidate: int, slices: Sequence[SliceHighlights]
) -> Iterator[str]:
    yield ""
    yield _columns(
        f"version {candidate}",
        (str(content.results.baseline), str(candidate), "change"),
        f"{content.level_name} interval",
    )
    for each in main_metrics(comparisons(content, candidate)):
        yield _line(f"  {each.name}", each)
    for found in slices:
        yield from _worst_slices(found)


def _worst_slices(found: SliceHighlights) -> Iterator[str]:
    direction = found.overall.facts.direction
    better_by = "" if direction is None else _BETTER_BY.get(direction, "")
    of_all = f"of {counted(len(found.ranked), 'slice')}"
    said = f"worse on {len(found.worse):,} {of_all}, better on {len(found.better):,}"
    if not found.has_direction:
        said = f"other on {len(found.changed):,} {of_all}"
    yield f"  {found.overall.name} by slice{better_by}: {said}"
    for each in (found.worse or found.changed)[:_MAX_SLICES]:
        rows = f", {counted(each.slice.num_rows, 'row')}"
        name = printable(each.slice.name, _NAME_WIDTH - len(rows) - 5)
        yield _line(f"    {name}{rows}", each.comparison)


def _alone(content: ReportContent) -> Iterator[str]:
    """Yields the metrics of a version that is compared with none."""
    if content.results.candidates:
        return
    yield ""
    for each in main_metrics(comparisons(content, content.results.baseline)):
        cell = comparison_cells(each).candidate
        yield f"  {each.name:<{_NAME_WIDTH}}{_value(cell):>{_NUMBER_WIDTH}}  {_interval(cell)}".rstrip()


def _line(name: str, comparison: Comparison) -> str:
    cells = comparison_cells(comparison)
    effect = comparison.effect
    return _columns(
        printable(name, _NAME_WIDTH - 1),
        [_value(each) for each in (cells.baseline, cells.candidate, cells.change)],
        _interval(cells.change),
        "" if effect is Effect.UNCLEAR else effect.value,
    )


def _columns(name: str, numbers: Sequence[str], interval: str, effect: str = "") -> str:
    columns = "".join(f"{each:>{_NUMBER_WIDTH}}" for each in numbers)
    return f"{name:<{_NAME_WIDTH}}{columns}  {interval:<{_INTERVAL_WIDTH}} {effect}".rstrip()


def _value(cell: Cell | None) -> str:
    return "" if cell is None else cell.value


def _interval(cell: Cell | None) -> str:
    return "" if cell is None else cell.interval

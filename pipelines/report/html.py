"""`report.html`: one static file, without scripts and without anything from elsewhere."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.report.change_charts import change_charts
from pipelines.report.chart import Chart
from pipelines.report.confusion_table import confusion_tables
from pipelines.report.content import COMMAND_LINE, ReportContent
from pipelines.report.gate_view import allowed_change
from pipelines.report.highlights import Highlights, SliceHighlights, highlights
from pipelines.report.metric_table import class_rows, comparison_cells, metric_sections
from pipelines.report.number_format import counted, format_count, printable
from pipelines.report.row_problems import (
    num_problem_rows,
    repeated_keys_warning,
    row_counts,
    small_slices,
)
from pipelines.report.score_charts import score_charts
from pipelines.report.slice_chart import SliceChart, by_chance, slice_chart
from pipelines.report.slice_ranking import MAX_SLICES
from pipelines.report.top_row_table import top_row_lines
from pipelines.report.transition_table import transition_lines
from pipelines.report.verdict_view import verdict_views

_TEMPLATE = "report.html.jinja"
_MAX_SMALL_SLICES = 100
_MAX_CLASS_ROWS = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class SliceView:
    """The slices of a candidate by one metric.

    Attributes:
        chart: Their chart.
        candidate: The version.
        found: The slices.
    """

    chart: Chart
    candidate: int
    found: SliceHighlights


def render_html(content: ReportContent) -> str:
    """Returns the page.

    Raises:
        ModuleNotFoundError: jinja2 or matplotlib is not installed.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipelines.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        cells=comparison_cells,
        count=format_count,
        counted=counted,
        printable=printable,
        breakable=_breakable,
        by_chance=lambda slices: by_chance(len(slices), content.confidence_level),
    )
    return environment.get_template(_TEMPLATE).render(_page(content))


def _breakable(name: str) -> Any:
    """Returns a metric's name as HTML that may be broken after its words."""
    from markupsafe import Markup, escape

    return Markup("_<wbr>").join(escape(name).split("_"))


def _page(content: ReportContent) -> dict[str, Any]:
    """Returns what the template is filled with."""
    small = small_slices(content)
    found = highlights(content)
    facts = dict(content.facts)
    return {
        "content": content,
        "results": content.results,
        "verdicts": list(verdict_views(content.verdict)),
        "highlights": found,
        "sections": metric_sections(content),
        "class_rows": class_rows(content)[:_MAX_CLASS_ROWS],
        "confusions": list(confusion_tables(content)),
        "score_charts": list(score_charts(content)),
        "slice_views": list(_slice_views(content, found)),
        "change_charts": list(change_charts(content)),
        "max_slices": MAX_SLICES,
        "top_rows": {each: top_row_lines(content, each) for each in content.results.candidates},
        "transitions": {
            each: transition_lines(content, each) for each in content.results.candidates
        },
        "row_counts": row_counts(content),
        "num_problem_rows": num_problem_rows(content),
        "repeated_keys_warning": repeated_keys_warning(content),
        "num_small_slices": len(small),
        "small_slices": small[:_MAX_SMALL_SLICES],
        "command_line": facts.pop(COMMAND_LINE, ""),
        "facts": facts,
    }


def _slice_views(content: ReportContent, candidates: Sequence[Highlights]) -> Iterator[SliceView]:
    for each in candidates:
        for found in each.slices:
            judged = None if content.verdict is None else content.verdict.of(each.candidate)
            overall = found.overall
            chart = SliceChart(
                candidate=each.candidate,
                baseline=content.results.baseline,
                overall=overall,
                ranked=found.ranked,
                allowed=allowed_change(judged, overall.metric, overall.sub_key),
            )
            yield SliceView(chart=slice_chart(chart), candidate=each.candidate, found=found)

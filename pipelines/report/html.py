"""`report.html`: one static file, without scripts and without anything from elsewhere."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.report.change_charts import change_charts
from pipelines.report.chart import Chart
from pipelines.report.comparison import Effect
from pipelines.report.content import COMMAND_LINE, ReportContent
from pipelines.report.gate_view import (
    RuleLine,
    allowed_change,
    headline,
    is_kept,
    reasons,
    rule_line,
    tally,
    worst_first,
)
from pipelines.report.highlights import Highlights, SliceHighlights, highlights
from pipelines.report.metric_table import class_rows, comparison_cells, metric_sections
from pipelines.report.number_format import counted, format_count, printable
from pipelines.report.row_problems import num_problem_rows, row_counts, small_slices
from pipelines.report.score_charts import score_charts
from pipelines.report.slice_chart import SliceChart, by_chance, slice_chart
from pipelines.report.slice_ranking import MAX_SLICES
from pipelines.report.top_row_table import top_row_lines
from transforms.evaluation.verdict import CandidateVerdict, Status, Verdict, gravity

_TEMPLATE = "report.html.jinja"
_MAX_REASONS = 4
_MAX_RULES = 100
_MAX_SMALL_SLICES = 100
_MAX_CLASS_ROWS = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class VerdictView:
    """What the gate decided of a candidate, ready to be shown.

    Attributes:
        version: The candidate.
        status: The verdict.
        headline: The same in a sentence.
        tally: How many checks came out how.
        reasons: The first few.
        num_more_reasons: How many there are beside these.
        open_rules: What was not passed, the gravest first.
        kept_rules: What was passed.
        num_hidden_rules: Of both, left out.
    """

    version: int
    status: Status
    headline: str
    tally: str
    reasons: tuple[str, ...]
    num_more_reasons: int
    open_rules: tuple[RuleLine, ...]
    kept_rules: tuple[RuleLine, ...]
    num_hidden_rules: int


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
        "effects": Effect,
        "verdicts": list(_verdicts(content.verdict)),
        "highlights": found,
        "sections": metric_sections(content),
        "class_rows": class_rows(content)[:_MAX_CLASS_ROWS],
        "score_charts": list(score_charts(content)),
        "slice_views": list(_slice_views(content, found)),
        "change_charts": list(change_charts(content)),
        "max_slices": MAX_SLICES,
        "top_rows": {each: top_row_lines(content, each) for each in content.results.candidates},
        "row_counts": row_counts(content),
        "num_problem_rows": num_problem_rows(content),
        "num_small_slices": len(small),
        "small_slices": small[:_MAX_SMALL_SLICES],
        "command_line": facts.pop(COMMAND_LINE, ""),
        "facts": facts,
    }


def _verdicts(verdict: Verdict | None) -> Iterator[VerdictView]:
    if verdict is not None:
        for each in sorted(verdict.candidates, key=lambda each: -gravity(each.status)):
            yield _verdict_view(verdict, each)


def _verdict_view(verdict: Verdict, candidate: CandidateVerdict) -> VerdictView:
    outcomes = worst_first(candidate)
    kept = [rule_line(each) for each in outcomes if is_kept(each)]
    others = [rule_line(each) for each in outcomes if not is_kept(each)]
    said = reasons(candidate)
    hidden = max(0, len(kept) - _MAX_RULES) + max(0, len(others) - _MAX_RULES)
    return VerdictView(
        version=candidate.version,
        status=candidate.status,
        headline=headline(verdict, candidate),
        tally=tally(candidate),
        reasons=tuple(said[:_MAX_REASONS]),
        num_more_reasons=max(0, len(said) - _MAX_REASONS),
        open_rules=tuple(others[:_MAX_RULES]),
        kept_rules=tuple(kept[:_MAX_RULES]),
        num_hidden_rules=hidden,
    )


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

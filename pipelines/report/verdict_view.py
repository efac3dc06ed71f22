"""What the gate decided, cut to what a page shows of it."""

from collections.abc import Iterator
from dataclasses import dataclass

from pipelines.report.gate_view import (
    RuleLine,
    headline,
    is_kept,
    reasons,
    rule_line,
    tally,
    worst_first,
)
from transforms.evaluation.verdict import CandidateVerdict, Status, Verdict, gravity

_MAX_REASONS = 4
_MAX_RULES = 100


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


def verdict_views(verdict: Verdict | None) -> Iterator[VerdictView]:
    """Yields the verdicts, the worst first; none without a gate."""
    if verdict is not None:
        for each in sorted(verdict.candidates, key=lambda each: -gravity(each.status)):
            yield _view(verdict, each)


def _view(verdict: Verdict, candidate: CandidateVerdict) -> VerdictView:
    outcomes = worst_first(candidate)
    kept = [each for each in outcomes if is_kept(each)][:_MAX_RULES]
    others = [each for each in outcomes if not is_kept(each)][:_MAX_RULES]
    said = reasons(candidate)
    return VerdictView(
        version=candidate.version,
        status=candidate.status,
        headline=headline(verdict, candidate),
        tally=tally(candidate),
        reasons=tuple(said[:_MAX_REASONS]),
        num_more_reasons=max(0, len(said) - _MAX_REASONS),
        open_rules=tuple(map(rule_line, others)),
        kept_rules=tuple(map(rule_line, kept)),
        num_hidden_rules=len(outcomes) - len(kept) - len(others),
    )

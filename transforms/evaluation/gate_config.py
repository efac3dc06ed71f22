"""The configuration of a gate, and its section `gate:` in a configuration file.

gate:
  alpha: 0.05
  multiplicity: holm
  rules:
  - {metric: auc, test: non_inferior, margin: {absolute: 0.002}}
  - {metric: log_loss, change: {max_regression: {relative: 0.01}}, slices: {columns: [country]}}
  - {metric: expected_calibration_error, value: {max: 0.03}, on: ci_upper}
  - {metric: psi, value: {max: 0.1}, severity: warn}
  missing: {metric: fail, slice: fail, suppressed_slice: inconclusive, baseline: inconclusive}
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import Enum
from typing import Any

from servable_core.errors import InvalidArgumentError
from transforms.evaluation.gate_rules import (
    OVERALL,
    Amount,
    ChangeLimits,
    Comparison,
    ComparisonKind,
    GateRule,
    Mode,
    On,
    Requirement,
    SliceSelector,
    ValueLimits,
)
from transforms.evaluation.measured_metrics import compares_by_itself
from transforms.evaluation.section_values import (
    checked_keys,
    enum_value,
    number_value,
    text_value,
)
from transforms.evaluation.slices import value_name
from transforms.evaluation.verdict import Severity, Status
from transforms.metrics.directions import Direction
from transforms.metrics.metric_catalogue import metric_facts


class Multiplicity(Enum):
    """How a level is shared by the slices of a rule."""

    HOLM = "holm"
    BH = "bh"
    NONE = "none"


@dataclass(frozen=True, kw_only=True, slots=True)
class MissingPolicy:
    """What comes out of a rule where there is nothing to judge.

    Attributes:
        metric: The metric was not measured.
        undefined: It was, but has no value for these rows, as an AUC of one class.
        slice: The slice has no rows.
        suppressed_slice: It has too few.
        baseline: There is no baseline, as for the first version of a model.
    """

    metric: Status = Status.FAIL
    undefined: Status = Status.INCONCLUSIVE
    slice: Status = Status.FAIL
    suppressed_slice: Status = Status.INCONCLUSIVE
    baseline: Status = Status.INCONCLUSIVE


@dataclass(frozen=True, kw_only=True, slots=True)
class GateConfig:
    """What a candidate must keep to pass.

    Attributes:
        rules: All must be kept; a gate without any decides nothing, which is an error.
        alpha: How often a rule may say PASS, or FAIL, of what is at its limit: for all slices of a
            rule together, unless `multiplicity` is NONE.
        multiplicity: How that is shared by the slices of a rule.
        missing: What comes out where there is nothing to judge.
    """

    rules: tuple[GateRule, ...] = ()
    alpha: float = 0.05
    multiplicity: Multiplicity = Multiplicity.HOLM
    missing: MissingPolicy = field(default_factory=MissingPolicy)

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 0.5:
            raise InvalidArgumentError(
                f"gate: alpha must be above 0 and below 0.5, got {self.alpha}; 0.05 is usual"
            )
        ids = [rule.rule_id for rule in self.rules]
        for rule_id in ids:
            if ids.count(rule_id) > 1:
                raise InvalidArgumentError(
                    f"gate: two rules have the id {rule_id!r}; give each its own, or none"
                )

    def sha256(self) -> str:
        """Returns a digest that tells gates with other rules apart."""
        plain = asdict(self)
        plain["rules"] = sorted(plain["rules"], key=lambda rule: rule["rule_id"])
        text = json.dumps(plain, sort_keys=True, default=lambda each: each.value)
        return hashlib.sha256(text.encode()).hexdigest()


def parse_gate(section: Mapping[str, Any]) -> GateConfig:
    """Returns the gate that a section `gate:` describes.

    Raises:
        InvalidArgumentError: Something in there is wrong; names the place and what was expected.
    """
    given = checked_keys("gate", section, ("alpha", "multiplicity", "mode", "rules", "missing"))
    mode = enum_value("gate: mode", Mode, given.get("mode", "interval"))
    rules = given.get("rules") or []
    if not isinstance(rules, list):
        raise InvalidArgumentError(f"gate: rules must be a list, got {rules!r}")
    gate = GateConfig(
        rules=tuple(_parse_rules(rules, mode)),
        alpha=number_value("gate: alpha", given.get("alpha", 0.05)),
        multiplicity=enum_value(
            "gate: multiplicity", Multiplicity, given.get("multiplicity", "holm")
        ),
        missing=_parse_missing(given.get("missing", {})),
    )
    if not gate.rules:
        raise InvalidArgumentError(
            "gate: rules is empty, so nothing would be decided: list a rule, as {metric: auc, value: {min: 0.7}}, or leave the section gate: out"
        )
    return gate


def _parse_rules(rules: list[Any], mode: Mode) -> Iterator[GateRule]:
    used: dict[str, int] = {}
    for index, entry in enumerate(rules):
        place = f"gate: rules[{index}]"
        try:
            rule = _parse_rule(place, entry, mode, used)
        except InvalidArgumentError as error:
            message = str(error)
            raise InvalidArgumentError(
                message if message.startswith("gate:") else f"{place}: {message}"
            ) from error
        yield rule


_RULE_KEYS = (
    "id",
    "metric",
    "sub_key",
    "value",
    "change",
    "test",
    "margin",
    "slices",
    "severity",
    "mode",
    "on",
    "direction",
)


def _parse_rule(place: str, entry: Any, mode: Mode, used: dict[str, int]) -> GateRule:
    if isinstance(entry, Mapping):  # `on` without quotes is true to YAML
        entry = {"on" if name is True else name: each for name, each in entry.items()}
    given = checked_keys(place, entry, _RULE_KEYS)
    if "metric" not in given:
        raise InvalidArgumentError(f"{place}: names no metric; give metric: auc, say")
    metric = text_value(f"{place}: metric", given["metric"])
    requirement = _parse_requirement(place, given)
    slices = _parse_selectors(f"{place}: slices", given.get("slices", "overall"))
    direction = given.get("direction")
    rule = GateRule(
        rule_id="?",
        metric=metric,
        sub_key=None if given.get("sub_key") is None else text_value(place, given["sub_key"]),
        requirement=requirement,
        slices=slices,
        severity=enum_value(f"{place}: severity", Severity, given.get("severity", "block")),
        on=_parse_on(place, given, mode),
        direction=None
        if direction is None
        else enum_value(f"{place}: direction", Direction, direction),
    )
    _check_metric(rule)
    rule_id = given.get("id")
    named = _own_id(rule, used) if rule_id is None else text_value(f"{place}: id", rule_id)
    return replace(rule, rule_id=named)


def _check_metric(rule: GateRule) -> None:
    """Checks what is known of our own metrics before they are measured."""
    if rule.needs_baseline and compares_by_itself(rule.metric):
        raise InvalidArgumentError(
            f"{rule.metric} compares versions by itself, so it has no {rule.test_name}; give it a value: {{max: ...}}"
        )
    facts = metric_facts(rule.metric)
    if rule.is_oriented and rule.direction is None and facts.description and not facts.direction:
        raise InvalidArgumentError(
            f"neither more nor less of {rule.metric} is better; give a direction: one of {', '.join(each.value for each in Direction)}, or a change: {{min: ..., max: ...}}"
        )


def _own_id(rule: GateRule, used: dict[str, int]) -> str:
    """Returns a name for a rule without one: what it asks, numbered where that is not enough."""
    of_slices = "" if rule.slices == (OVERALL,) else f" on {' and '.join(map(str, rule.slices))}"
    name = f"{rule.metric} {rule.test_name}{of_slices}"
    used[name] = used.get(name, 0) + 1
    return name if used[name] == 1 else f"{name} #{used[name]}"


def _parse_requirement(place: str, given: Mapping[str, Any]) -> Requirement:
    asked = [name for name in ("value", "change", "test") if given.get(name) is not None]
    if len(asked) != 1:
        raise InvalidArgumentError(
            f"{place}: expected one of value, change and test, got {' and '.join(asked) or 'none'}"
        )
    if given.get("margin") is not None and asked != ["test"]:
        raise InvalidArgumentError(f"{place}: margin goes with test, not with {asked[0]}")
    if asked == ["value"]:
        value_limits = checked_keys(f"{place}: value", given["value"], ("min", "max"))
        return ValueLimits(
            **{name: number_value(f"{place}: {name}", each) for name, each in value_limits.items()}
        )
    if asked == ["change"]:
        names = tuple(each.name for each in fields(ChangeLimits))
        change_limits = checked_keys(f"{place}: change", given["change"], names)
        return ChangeLimits(
            **{name: _amount(f"{place}: {name}", each) for name, each in change_limits.items()}
        )
    margin = given.get("margin")
    return Comparison(
        kind=enum_value(f"{place}: test", ComparisonKind, given["test"]),
        margin=None if margin is None else _amount(f"{place}: margin", margin),
    )


def _amount(place: str, found: Any) -> Amount:
    if not isinstance(found, Mapping):
        return Amount(number=number_value(place, found))
    given = checked_keys(place, found, ("absolute", "relative"))
    if len(given) != 1:
        raise InvalidArgumentError(f"{place}: expected absolute or relative, got {found!r}")
    ((kind, number),) = given.items()
    return Amount(number=number_value(place, number), is_relative=kind == "relative")


def _parse_on(place: str, given: Mapping[str, Any], mode: Mode) -> On:
    own = given.get("mode")
    if given.get("on") is None:
        return On((mode if own is None else enum_value(f"{place}: mode", Mode, own)).value)
    on = enum_value(f"{place}: on", On, given["on"])
    if own is not None:
        raise InvalidArgumentError(
            f"{place}: mode says nothing beside on: {on.value}; leave it out"
        )
    return on


def _parse_selectors(place: str, found: Any) -> tuple[SliceSelector, ...]:
    entries = found if isinstance(found, list) else [found]
    if not entries:
        raise InvalidArgumentError(f"{place}: names no slice; leave it out for all rows together")
    return tuple(_parse_selector(place, each) for each in entries)


def _parse_selector(place: str, found: Any) -> SliceSelector:
    if found == "overall":
        return OVERALL
    if found == "all":
        return SliceSelector(is_all=True)
    if not isinstance(found, Mapping) or not found:
        raise InvalidArgumentError(
            f"{place}: expected overall, all, {{columns: [country]}} or {{country: DE}}, got {found!r}"
        )
    if set(found) == {"columns"}:
        columns = found["columns"] if isinstance(found["columns"], list) else [found["columns"]]
        return SliceSelector(columns=tuple(text_value(place, each) for each in columns))
    pairs = {text_value(place, column): value_name(value) for column, value in found.items()}
    return SliceSelector(key=tuple(sorted(pairs.items())))


_MISSING = {
    "error": Status.ERROR,
    "fail": Status.FAIL,
    "inconclusive": Status.INCONCLUSIVE,
    "skip": Status.SKIPPED,
}


def _parse_missing(found: Any) -> MissingPolicy:
    names = tuple(each.name for each in fields(MissingPolicy))
    given = checked_keys("gate: missing", found, names)
    for name, word in given.items():
        if word not in _MISSING:
            raise InvalidArgumentError(
                f"gate: missing: {name} must be one of {', '.join(_MISSING)}, got {word!r}"
            )
    return MissingPolicy(**{name: _MISSING[word] for name, word in given.items()})

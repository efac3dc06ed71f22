"""What each rule says, at its borders too."""

import itertools
import math
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.transforms.evaluation.gated import (
    BASELINE,
    CANDIDATE,
    ROWS,
    compared,
    count_of,
    estimate_of,
    gate_of,
    metric_of,
    outcome_of,
    outcomes_of,
    reach,
    results_of,
    share_of,
)
from transforms.evaluation.gate import decide
from transforms.evaluation.gate_config import GateConfig
from transforms.evaluation.verdict import Status
from transforms.metrics import Direction, Estimate, Method, RowMetric

DE, FR, NL = ((("country", code),) for code in ("DE", "FR", "NL"))
SE = 0.01
HALF = reach() * SE  # of a 90 % interval
A_BIT = 1e-6


def _auc(delta, **fields):
    return results_of(*compared("auc", 0.8, delta, SE, **fields))


@pytest.mark.parametrize(
    ("rule", "delta", "expected"),
    [
        # The lower end decides that it passes, the upper end that it fails.
        ({"test": "non_inferior", "margin": 0.02}, HALF - 0.02 + A_BIT, "PASS"),
        ({"test": "non_inferior", "margin": 0.02}, HALF - 0.02 - A_BIT, "INCONCLUSIVE"),
        ({"test": "non_inferior", "margin": 0.02}, -HALF - 0.02 + A_BIT, "INCONCLUSIVE"),
        ({"test": "non_inferior", "margin": 0.02}, -HALF - 0.02 - A_BIT, "FAIL"),
        ({"test": "superior"}, HALF + A_BIT, "PASS"),
        ({"test": "superior"}, HALF - A_BIT, "INCONCLUSIVE"),
        ({"test": "superior"}, -HALF + A_BIT, "INCONCLUSIVE"),
        ({"test": "superior"}, -HALF - A_BIT, "FAIL"),
        ({"test": "superior", "margin": 0.03}, HALF + 0.03 - A_BIT, "INCONCLUSIVE"),
        ({"test": "superior", "margin": 0.03}, HALF + 0.03 + A_BIT, "PASS"),
        ({"test": "equivalent", "margin": 0.02}, 0.02 - HALF - A_BIT, "PASS"),
        ({"test": "equivalent", "margin": 0.02}, 0.02 - HALF + A_BIT, "INCONCLUSIVE"),
        ({"test": "equivalent", "margin": 0.02}, HALF - 0.02 + A_BIT, "PASS"),
        ({"test": "equivalent", "margin": 0.02}, 0.02 + HALF + A_BIT, "FAIL"),
        ({"test": "equivalent", "margin": 0.02}, -0.02 - HALF - A_BIT, "FAIL"),
        ({"test": "equivalent", "margin": 0.01}, 0.0, "INCONCLUSIVE"),
        ({"change": {"max_regression": 0.02}}, HALF - 0.02 + A_BIT, "PASS"),
        ({"change": {"max_regression": 0.02}}, -HALF - 0.02 - A_BIT, "FAIL"),
        ({"change": {"min_improvement": 0.02}}, HALF + 0.02 + A_BIT, "PASS"),
        ({"change": {"min_improvement": 0.02}}, HALF + 0.02 - A_BIT, "INCONCLUSIVE"),
        ({"change": {"min_improvement": 0.02}}, 0.02 - HALF - A_BIT, "FAIL"),
        ({"change": {"max_improvement": 0.05}}, 0.05 - HALF - A_BIT, "PASS"),
        ({"change": {"max_improvement": 0.05}}, 0.05 + HALF + A_BIT, "FAIL"),
        ({"change": {"min": -0.05, "max": 0.05}}, 0.0, "PASS"),
        ({"change": {"min": -0.05, "max": 0.05}}, 0.05, "INCONCLUSIVE"),
        ({"change": {"max": 0.05}}, 0.05 + HALF + A_BIT, "FAIL"),
        # Relative to the baseline's 0.8.
        ({"test": "non_inferior", "margin": {"relative": 0.1}}, HALF - 0.08 + A_BIT, "PASS"),
        (
            {"test": "non_inferior", "margin": {"relative": 0.1}},
            HALF - 0.08 - A_BIT,
            "INCONCLUSIVE",
        ),
        ({"change": {"max_regression": {"relative": 0.1}}}, -HALF - 0.08 - A_BIT, "FAIL"),
    ],
)
def test_changes_on_the_interval(rule, delta, expected):
    assert outcome_of(_auc(delta), {"metric": "auc", **rule}).status.value == expected


@pytest.mark.parametrize(
    ("rule", "delta", "expected"),
    [
        ({"test": "non_inferior", "margin": 0.125}, -0.125, "PASS"),
        ({"test": "non_inferior", "margin": 0.125}, -0.125 - A_BIT, "FAIL"),
        ({"test": "superior"}, 0.0, "FAIL"),
        ({"test": "superior"}, A_BIT, "PASS"),
        ({"test": "equivalent", "margin": 0.125}, 0.125, "PASS"),
        ({"test": "equivalent", "margin": 0.125}, 0.125 + A_BIT, "FAIL"),
        ({"change": {"min_improvement": 0}}, 0.0, "PASS"),
        ({"change": {"max_improvement": 0.125}}, 0.125, "PASS"),
        ({"change": {"max_improvement": 0.125}}, 0.125 + A_BIT, "FAIL"),
    ],
)
@pytest.mark.parametrize("is_certain", [False, True])
def test_numbers_at_the_border_keep_it(rule, delta, expected, is_certain):
    """Judged by the number alone, and where it has no error, the border itself is allowed."""
    results = results_of(*compared("auc", 0.8, delta, 0.0 if is_certain else 0.5))
    mode = {} if is_certain else {"mode": "point"}
    assert outcome_of(results, {"metric": "auc", **rule, **mode}).status.value == expected


@pytest.mark.parametrize(
    ("limits", "on", "value", "expected"),
    [
        ({"max": 0.5}, "interval", 0.5 - HALF - A_BIT, "PASS"),
        ({"max": 0.5}, "interval", 0.5 - HALF + A_BIT, "INCONCLUSIVE"),
        ({"max": 0.5}, "interval", 0.5 + HALF + A_BIT, "FAIL"),
        ({"min": 0.5}, "interval", 0.5 + HALF + A_BIT, "PASS"),
        ({"min": 0.5}, "interval", 0.5 - HALF - A_BIT, "FAIL"),
        ({"min": 0.4, "max": 0.5}, "interval", 0.45, "PASS"),
        ({"min": 0.4, "max": 0.5}, "interval", 0.4, "INCONCLUSIVE"),
        ({"min": 0.4, "max": 0.5}, "interval", 0.6, "FAIL"),
        ({"max": 0.5}, "point", 0.5, "PASS"),
        ({"max": 0.5}, "point", 0.5 + A_BIT, "FAIL"),
        ({"min": 0.5}, "point", 0.5, "PASS"),
        ({"min": 0.5}, "point", 0.5 - A_BIT, "FAIL"),
        # The far end must keep the limit: what is open fails.
        ({"max": 0.5}, "ci_upper", 0.5 - HALF - A_BIT, "PASS"),
        ({"max": 0.5}, "ci_upper", 0.5 - HALF + A_BIT, "FAIL"),
        ({"min": 0.5}, "ci_lower", 0.5 + HALF + A_BIT, "PASS"),
        ({"min": 0.5}, "ci_lower", 0.5 + HALF - A_BIT, "FAIL"),
        # The near end must break it: what is open passes.
        ({"max": 0.5}, "ci_lower", 0.5 + HALF - A_BIT, "PASS"),
        ({"max": 0.5}, "ci_lower", 0.5 + HALF + A_BIT, "FAIL"),
        ({"min": 0.5}, "ci_upper", 0.5 - HALF + A_BIT, "PASS"),
        ({"min": 0.5}, "ci_upper", 0.5 - HALF - A_BIT, "FAIL"),
    ],
)
def test_values(limits, on, value, expected):
    results = results_of(metric_of("brier", estimate_of(value, SE)))
    rule = {"metric": "brier", "value": limits, "on": on}
    assert outcome_of(results, rule).status.value == expected


@pytest.mark.parametrize("delta", [-0.05, 0.05])
@pytest.mark.parametrize(
    ("metric", "baseline", "is_better_if"),
    [
        ("auc", 0.8, 0.05),
        ("log_loss", 0.3, -0.05),
        ("bias", 0.2, -0.05),
        ("bias", -0.2, 0.05),
        ("calibration_ratio", 1.2, -0.05),
        ("calibration_ratio", 0.8, 0.05),
    ],
)
def test_the_direction_is_that_of_the_metric(metric, baseline, is_better_if, delta):
    outcome = outcome_of(
        results_of(*compared(metric, baseline, delta, 0.001)),
        {"metric": metric, "test": "superior"},
    )
    assert outcome.status is (Status.PASS if delta == is_better_if else Status.FAIL)
    assert outcome.measured == pytest.approx(0.05 if delta == is_better_if else -0.05)
    assert outcome.delta == delta


def test_beyond_the_target_both_errors_add_up():
    """From 0.10 above zero to 0.04 below, the gain is 0.06; the two are as dependent as may be."""
    results = results_of(
        metric_of("bias", estimate_of(0.10, 0.01), BASELINE),
        metric_of("bias", estimate_of(-0.04, 0.02)),
        metric_of("bias", estimate_of(-0.14, 0.005), is_difference=True),
    )
    outcome = outcome_of(results, {"metric": "bias", "test": "superior"})
    assert outcome.measured == pytest.approx(0.06)
    assert outcome.interval == pytest.approx((0.06 - reach() * 0.03, 0.06 + reach() * 0.03))


def test_beyond_the_target_what_bins_hide_and_few_blocks_add_up_too():
    bounds = {"lower_bound": 0.09, "upper_bound": 0.11, "degrees_of_freedom": 9}
    after = {"lower_bound": -0.042, "upper_bound": -0.04, "degrees_of_freedom": 31}
    results = results_of(
        metric_of("bias", estimate_of(0.10, 0.01, **bounds), BASELINE),
        metric_of("bias", estimate_of(-0.04, 0.01, **after)),
        metric_of("bias", estimate_of(-0.14, 0.01), is_difference=True),
    )
    outcome = outcome_of(results, {"metric": "bias", "test": "superior"})
    half = stats.t.ppf(0.95, 9) * 0.02 + 0.012
    assert outcome.interval == pytest.approx((0.06 - half, 0.06 + half))


def test_what_bins_hide_turns_round_with_the_direction():
    change = estimate_of(-0.05, SE, lower_bound=-0.055, upper_bound=-0.02)
    results = results_of(*compared("log_loss", 0.5, change))
    outcome = outcome_of(results, {"metric": "log_loss", "test": "superior"})
    assert outcome.interval == pytest.approx((0.02 - HALF, 0.055 + HALF))


def test_a_share_of_a_negative_baseline_is_a_size():
    results = results_of(*compared("mcc", -0.5, 0.0, SE))
    rule = {"metric": "mcc", "test": "non_inferior", "margin": {"relative": 0.1}}
    outcome = outcome_of(results, rule)
    assert (outcome.status, outcome.low) == (Status.PASS, -0.05)


def test_a_rule_can_say_the_direction():
    results = results_of(*compared("cost", 0.3, -0.1))
    rule = {"metric": "cost", "test": "superior"}
    unknown = outcome_of(results, rule)
    assert unknown.status is Status.ERROR
    assert "name the direction" in unknown.reason
    assert outcome_of(results, {**rule, "direction": "lower"}).status is Status.PASS


def test_metrics_of_your_own_say_the_direction():
    mine = RowMetric("cost", lambda batch: batch.predictions, direction=Direction.LOWER)
    results = results_of(*compared("cost", 3.0, -1.0))
    gate = gate_of({"metric": "cost", "test": "superior"})
    assert decide(results, gate, row_metrics=[mine]).status is Status.PASS
    assert decide(results, gate).status is Status.ERROR


@pytest.mark.parametrize("on", ["interval", "ci_upper"])
def test_what_bins_hide_makes_a_gate_more_cautious(on):
    """An exact number passes; the same number, known to 0.02, does not."""
    rule = {"metric": "brier", "value": {"max": 0.52}, "on": on}
    exact = estimate_of(0.5, SE)
    binned = estimate_of(0.5, SE, lower_bound=0.48, upper_bound=0.52)
    assert outcome_of(results_of(metric_of("brier", exact)), rule).status is Status.PASS
    outcome = outcome_of(results_of(metric_of("brier", binned)), rule)
    assert outcome.status is not Status.PASS
    assert outcome.approximation_error == pytest.approx(0.02)


@pytest.mark.parametrize(
    ("baseline", "expected"), [(0.0, Status.ERROR), (1e-12, Status.ERROR), (0.001, Status.PASS)]
)
def test_a_share_of_nothing_is_an_error(baseline, expected):
    results = results_of(*compared("mae", baseline, -0.5))
    rule = {"metric": "mae", "test": "non_inferior", "margin": {"relative": 0.1}}
    outcome = outcome_of(results, rule)
    assert outcome.status is expected
    if expected is Status.ERROR:
        assert "give an absolute one" in outcome.reason


def test_shares_have_the_interval_of_wilson():
    rule = {"metric": "churn", "value": {"max": 0.05}}
    for rows, expected in ((100, "INCONCLUSIVE"), (10_000, "PASS")):
        results = results_of(metric_of("churn", share_of(0.04, rows), is_difference=True))
        outcome = outcome_of(results, rule)
        assert outcome.status.value == expected
        assert outcome.interval == share_of(0.04, rows).interval(0.9)
        assert (outcome.interval[1] <= 0.05) is (expected == "PASS")


@pytest.mark.parametrize(
    ("value", "limits", "expected"),
    [
        (0.0, {"max": 0}, "INCONCLUSIVE"),  # no number of rows shows that there never is one
        (0.001, {"max": 0}, "FAIL"),
        (1.0, {"min": 1}, "INCONCLUSIVE"),
        (0.999, {"min": 1}, "FAIL"),
        (0.0, {"min": 0}, "PASS"),
        (1.0, {"max": 1}, "PASS"),
    ],
)
def test_shares_at_the_ends(value, limits, expected):
    results = results_of(metric_of("churn", share_of(value), is_difference=True))
    assert outcome_of(results, {"metric": "churn", "value": limits}).status.value == expected


@pytest.mark.parametrize("metric", ["nan_scores", "inference_errors", "psi", "mcnemar_p_value"])
def test_what_has_no_interval_by_nature_is_taken_as_it_is(metric):
    rule = {"metric": metric, "value": {"max": 1}}
    for number, expected in ((1, Status.PASS), (2, Status.FAIL)):
        assert outcome_of(results_of(metric_of(metric, count_of(number))), rule).status is expected


def test_without_an_interval_only_the_number_can_be_judged():
    results = results_of(metric_of("my_metric", count_of(0.5)))
    rule = {"metric": "my_metric", "value": {"max": 1}}
    outcome = outcome_of(results, rule)
    assert outcome.status is Status.INCONCLUSIVE
    assert "on: point" in outcome.reason
    assert outcome_of(results, {**rule, "on": "point"}).status is Status.PASS


def test_a_slice_that_cannot_be_tested_leaves_the_level_to_the_others():
    """It does not count among the tests that share it."""
    results = results_of(
        *compared("auc", 0.8, HALF + A_BIT, SE, key=DE),
        *compared("auc", 0.8, 0.1, math.nan, key=FR),
    )
    rule = {"metric": "auc", "test": "superior", "slices": {"columns": ["country"]}}
    found = {each.slice: each.status for each in outcomes_of(results, rule)}
    assert found == {DE: Status.PASS, FR: Status.INCONCLUSIVE}


class TestSlices:
    RESULTS = results_of(
        *compared("auc", 0.8, 0.1),
        *compared("auc", 0.8, 0.1, key=DE),
        *compared("auc", 0.8, -0.1, key=FR),
        *compared("auc", 0.8, 0.1, key=(("country", "DE"), ("device", "phone"))),
        small=[NL],
    )

    def _slices(self, slices, **section):
        rule = {"metric": "auc", "test": "superior", "slices": slices}
        return {each.slice_name: each.status.value for each in self._outcomes(rule, section)}

    def _outcomes(self, rule, section):
        return outcomes_of(self.RESULTS, rule, **section)

    def test_by_columns(self):
        assert self._slices({"columns": ["country"]}) == {
            "country=FR": "FAIL",
            "country=NL": "INCONCLUSIVE",
            "country=DE": "PASS",
        }

    def test_by_a_cross_in_any_order(self):
        expected = {"country=DE, device=phone": "PASS"}
        assert self._slices({"columns": ["device", "country"]}) == expected
        assert self._slices({"device": "phone", "country": "DE"}) == expected

    def test_all_and_several(self):
        assert len(self._slices("all")) == 5
        assert set(self._slices(["overall", {"country": "FR"}])) == {"all rows", "country=FR"}

    def test_a_slice_named_twice_is_judged_once(self):
        assert len(self._slices([{"country": "DE"}, {"columns": ["country"]}])) == 3

    @pytest.mark.parametrize(
        ("policy", "expected"),
        [(None, "FAIL"), ("inconclusive", "INCONCLUSIVE"), ("error", "ERROR"), ("skip", "SKIPPED")],
    )
    def test_a_missing_slice(self, policy, expected):
        section = {} if policy is None else {"missing": {"slice": policy}}
        rule = {"metric": "auc", "test": "superior", "slices": {"country": "XX"}}
        gate = gate_of(rule, **section)
        (candidate,) = decide(self.RESULTS, gate).candidates
        (outcome,) = candidate.outcomes
        assert (outcome.status.value, outcome.slice_name) == (expected, "country=XX")
        assert "country=DE" in outcome.reason
        assert candidate.missing_slices == ((("country", "XX"),),)

    def test_columns_that_are_no_slices(self):
        rule = {"metric": "auc", "test": "superior", "slices": {"columns": ["city"]}}
        (outcome,) = self._outcomes(rule, {})
        assert outcome.status is Status.FAIL
        assert "--slice=city" in outcome.reason

    @pytest.mark.parametrize(("policy", "expected"), [("fail", "FAIL"), ("skip", "SKIPPED")])
    def test_too_small_slices_have_a_policy(self, policy, expected):
        found = self._slices({"country": "NL"}, missing={"suppressed_slice": policy})
        assert found == {"country=NL": expected}

    def test_they_are_counted(self):
        gate = gate_of({"metric": "auc", "test": "superior", "slices": "all"})
        (candidate,) = decide(self.RESULTS, gate).candidates
        assert candidate.num_suppressed_slices == 1


@pytest.mark.parametrize("policy", [None, "fail", "inconclusive", "error", "skip"])
def test_a_missing_metric(policy):
    results = _auc(0.1)
    section = {} if policy is None else {"missing": {"metric": policy}}
    outcome = outcome_of(results, {"metric": "aucc", "test": "superior"}, **section)
    expected = {"skip": "SKIPPED", None: "FAIL"}.get(policy, str(policy).upper())
    assert outcome.status.value == expected
    assert "did you mean 'auc'" in outcome.reason


def test_a_metric_without_a_value_is_inconclusive():
    results = results_of(*compared("auc", math.nan, math.nan))
    outcome = outcome_of(results, {"metric": "auc", "test": "superior"})
    assert outcome.status is Status.INCONCLUSIVE
    assert "not defined" in outcome.reason


def test_counts_of_all_rows_are_missing_in_slices():
    results = results_of(metric_of("inference_errors", count_of(0)), keys=[DE])
    rule = {"metric": "inference_errors", "value": {"max": 0}, "slices": "all"}
    assert [each.status.value for each in outcomes_of(results, rule)] == ["FAIL", "PASS"]


class TestSubKeys:
    RESULTS = results_of(
        *(
            metric
            for number, value in ((0.3, 0.7), (0.5, 0.9))
            for metric in compared("accuracy", value, 0.0, sub_key=f"threshold={number}")
        )
    )
    RULE = MappingProxyType({"metric": "accuracy", "value": {"min": 0.8}})

    def test_one_must_be_chosen(self):
        outcome = outcome_of(self.RESULTS, {**self.RULE})
        assert outcome.status is Status.ERROR
        assert "threshold=0.3, threshold=0.5" in outcome.reason

    @pytest.mark.parametrize(("number", "expected"), [(0.3, "FAIL"), (0.5, "PASS")])
    def test_the_one_chosen_is_judged(self, number, expected):
        outcome = outcome_of(self.RESULTS, {**self.RULE, "sub_key": f"threshold={number}"})
        assert (outcome.status.value, outcome.sub_key) == (expected, f"threshold={number}")

    def test_all_are(self):
        found = outcomes_of(self.RESULTS, {**self.RULE, "sub_key": "all"})
        assert [each.status.value for each in found] == ["FAIL", "PASS"]

    def test_another_is_missing(self):
        outcome = outcome_of(self.RESULTS, {**self.RULE, "sub_key": "threshold=0.4"})
        assert outcome.status is Status.FAIL
        assert "threshold=0.4" in outcome.reason

    def test_the_only_one_needs_no_choice(self):
        results = results_of(*compared("accuracy", 0.9, 0.0, sub_key="threshold=0.5"))
        assert outcome_of(results, {**self.RULE}).status is Status.PASS


class TestWithoutBaseline:
    RESULTS = results_of(metric_of("auc", estimate_of(0.9), BASELINE), candidates=())

    def test_values_are_judged(self):
        verdict = decide(self.RESULTS, gate_of({"metric": "auc", "value": {"min": 0.8}}))
        assert (verdict.status, verdict.baseline) == (Status.PASS, None)
        assert [each.version for each in verdict.candidates] == [BASELINE]

    @pytest.mark.parametrize(
        ("policy", "expected"),
        [
            (None, "INCONCLUSIVE"),
            ("inconclusive", "INCONCLUSIVE"),
            ("fail", "FAIL"),
            ("skip", "PASS"),
        ],
    )
    @pytest.mark.parametrize(
        "rule",
        [
            {"metric": "auc", "test": "superior"},
            {"metric": "churn", "value": {"max": 0.1}},
            {"metric": "psi", "value": {"max": 0.1}},
        ],
    )
    def test_comparisons_have_a_policy(self, rule, policy, expected):
        section = {} if policy is None else {"missing": {"baseline": policy}}
        verdict = decide(self.RESULTS, gate_of(rule, **section))
        assert verdict.status.value == expected
        assert "the only version" in verdict.candidates[0].outcomes[0].reason


def test_what_compares_by_itself_has_no_change():
    results = results_of(metric_of("my_churn", share_of(0.1), is_difference=True))
    outcome = outcome_of(results, {"metric": "my_churn", "test": "superior"})
    assert outcome.status is Status.ERROR
    assert "give it a value" in outcome.reason


def test_no_rules_are_an_error():
    verdict = decide(_auc(0.1), GateConfig())
    assert (verdict.status, verdict.exit_code) == (Status.ERROR, 1)
    assert "no rules" in verdict.candidates[0].reasons[0]


_KINDS = {
    "PASS": {"metric": "auc", "value": {"min": 0.1}},
    "WARN": {"metric": "auc", "value": {"min": 0.99}, "severity": "warn"},
    "INCONCLUSIVE": {"metric": "auc", "value": {"min": 0.9}},
    "FAIL": {"metric": "auc", "value": {"min": 0.99}},
    "ERROR": {"metric": "auc", "test": "non_inferior", "margin": {"relative": 1}},
}


@pytest.mark.parametrize("kinds", itertools.permutations(_KINDS, 2))
def test_the_worst_decides(kinds):
    """In any order of the rules, and a warning alone lets pass."""
    results = results_of(
        metric_of("auc", estimate_of(0.0), BASELINE),
        metric_of("auc", estimate_of(0.9)),
        metric_of("auc", estimate_of(0.9), is_difference=True),
    )
    verdict = decide(results, gate_of(*(_KINDS[kind] for kind in kinds)))
    worst = max(kinds, key=list(_KINDS).index)
    assert verdict.status.value == ("PASS" if worst == "WARN" else worst)
    (candidate,) = verdict.candidates
    assert bool(candidate.warnings) is ("WARN" in kinds)
    codes = {"PASS": 0, "WARN": 0, "ERROR": 1, "FAIL": 3, "INCONCLUSIVE": 4}
    assert verdict.exit_code == codes[worst]


def test_each_candidate_has_a_verdict_and_the_worst_counts():
    results = results_of(
        *compared("auc", 0.8, 0.1), *compared("auc", 0.8, -0.1, version=8), candidates=(9, 8)
    )
    verdict = decide(results, gate_of({"metric": "auc", "test": "superior"}))
    assert {each.version: each.status.value for each in verdict.candidates} == {
        9: "PASS",
        8: "FAIL",
    }
    assert verdict.exit_code == 3


def test_holm_is_over_the_slices_of_a_rule():
    """Two of three slices are shown at their steps of the level; alone, all three would be."""
    keys = [(("country", str(number)),) for number in range(3)]
    results = results_of(
        *(
            metric
            for key, alpha in zip(keys, (0.016, 0.024, 0.06), strict=True)
            for metric in compared("auc", 0.8, reach(alpha) * SE, SE, key=key)
        )
    )
    rule = {"metric": "auc", "test": "superior", "slices": {"columns": ["country"]}}
    found = {each.slice: each for each in outcomes_of(results, rule)}
    assert [found[key].status.value for key in keys] == ["PASS", "PASS", "INCONCLUSIVE"]
    assert [found[key].interval_level for key in keys] == pytest.approx(
        [1 - 2 * 0.05 / 3, 1 - 2 * 0.05 / 2, 1 - 2 * 0.05]
    )
    assert [found[key].adjusted_p_value for key in keys] == pytest.approx([0.048, 0.048, 0.06])
    loose = {
        each.slice: each for each in outcomes_of(results, rule, multiplicity="none", alpha=0.07)
    }
    assert [loose[key].status.value for key in keys] == ["PASS"] * 3


def test_holm_is_over_what_fails_too():
    """Alone each would fail; of two, the one nearer to the limit is open."""
    results = results_of(
        *compared("auc", 0.8, -reach(0.04) * SE, SE, key=DE),
        *compared("auc", 0.8, -reach(0.06) * SE, SE, key=FR),
        *compared("auc", 0.8, -reach(0.01) * SE, SE, key=NL),
    )
    rule = {"metric": "auc", "test": "superior", "slices": {"columns": ["country"]}}
    found = {each.slice: each for each in outcomes_of(results, rule)}
    assert found[NL].status is Status.FAIL
    assert found[NL].interval_level == pytest.approx(1 - 2 * 0.05 / 3)
    assert found[DE].status is found[FR].status is Status.INCONCLUSIVE
    alone = outcomes_of(results, rule, multiplicity="none", alpha=0.05)
    assert [each.slice for each in alone if each.status is Status.FAIL] == [DE, NL]


def test_the_level_is_that_of_what_was_shown():
    """Whichever is shown first has half of it: of the passes one slice, of the failures the other."""
    results = results_of(
        *compared("auc", 0.8, 0.1, SE, key=DE), *compared("auc", 0.8, -0.1, SE, key=FR)
    )
    rule = {"metric": "auc", "test": "superior", "slices": {"columns": ["country"]}}
    levels = {each.status.value: each.interval_level for each in outcomes_of(results, rule)}
    assert levels == {"PASS": pytest.approx(0.95), "FAIL": pytest.approx(0.95)}


def test_other_rules_do_not_share_the_level():
    results = _auc(HALF + A_BIT)
    rules = [{"metric": "auc", "test": "superior"}] * 5
    assert {each.status for each in outcomes_of(results, *rules)} == {Status.PASS}


def test_the_power_hint_is_about_right():
    """With the rows it asks for, four samples of five would tell."""
    delta, error = 0.01, 0.01
    results = results_of(*compared("auc", 0.8, delta, error))
    outcome = outcome_of(results, {"metric": "auc", "test": "superior"})
    assert outcome.status is Status.INCONCLUSIVE
    assert outcome.rows_needed == 61_826
    assert "about 62,000 rows would tell, there are 10,000" in outcome.reason
    smaller = error * math.sqrt(ROWS / outcome.rows_needed)
    assert (delta - reach() * smaller) / smaller == pytest.approx(reach(0.2), abs=1e-3)


def test_what_bins_hide_takes_more_rows():
    """Of the distance to the limit, only what is certain counts."""
    rule = {"metric": "brier", "value": {"max": 0.3}}
    exact = estimate_of(0.29, SE)
    binned = estimate_of(0.29, SE, lower_bound=0.285, upper_bound=0.295)
    needed = [
        outcome_of(results_of(metric_of("brier", each)), rule).rows_needed
        for each in (exact, binned)
    ]
    assert needed[1] == pytest.approx(4 * needed[0], rel=1e-3)


def test_no_rows_would_tell_of_a_number_at_the_limit():
    results = results_of(metric_of("brier", estimate_of(0.25)))
    outcome = outcome_of(results, {"metric": "brier", "value": {"max": 0.25}})
    assert (outcome.status, outcome.rows_needed) == (Status.INCONCLUSIVE, None)
    assert "would not tell" in outcome.reason


_numbers = st.floats(-1, 1, allow_nan=False)
_sizes = st.floats(0, 0.5)
_RANK = ["PASS", "INCONCLUSIVE", "FAIL"]


@given(
    deltas=st.lists(st.tuples(_numbers, _sizes), min_size=1, max_size=6),
    margins=st.tuples(_sizes, _sizes).map(sorted),
    kind=st.sampled_from(["non_inferior", "equivalent"]),
    multiplicity=st.sampled_from(["holm", "bh", "none"]),
    mode=st.sampled_from(["interval", "point"]),
)
def test_a_larger_margin_is_never_harder(deltas, margins, kind, multiplicity, mode):
    keys = [(("country", str(number)),) for number in range(len(deltas))]
    results = results_of(
        *(
            metric
            for key, (delta, error) in zip(keys, deltas, strict=True)
            for metric in compared("auc", 0.5, delta, error, key=key)
        )
    )
    tight, loose = (
        {
            each.slice: _RANK.index(each.status.value)
            for each in outcomes_of(
                results,
                {"metric": "auc", "test": kind, "margin": margin, "slices": "all", "mode": mode},
                multiplicity=multiplicity,
                missing={"metric": "skip"},
            )
            if each.status is not Status.SKIPPED
        }
        for margin in margins
    )
    assert all(loose[key] <= tight[key] for key in keys)


_RULES = st.lists(
    st.sampled_from(
        [
            *_KINDS.values(),
            {
                "metric": "auc",
                "test": "equivalent",
                "margin": 0.1,
                "slices": {"columns": ["country"]},
            },
            {"metric": "gone", "value": {"max": 1}},
        ]
    ),
    min_size=1,
    max_size=5,
)


@given(rules=_RULES, data=st.data())
def test_the_order_of_rules_does_not_matter(rules, data):
    results = results_of(*compared("auc", 0.8, 0.1), *compared("auc", 0.8, -0.2, key=DE))
    named = [{"id": f"r{number}", **rule} for number, rule in enumerate(rules)]
    shuffled = data.draw(st.permutations(named))
    assert decide(results, gate_of(*named)) == decide(results, gate_of(*shuffled))


@given(
    delta=_numbers,
    error=st.floats(0, 0.5),
    freedom=st.sampled_from([31, math.inf]),
    hidden=st.floats(0, 0.1),
    low=_numbers,
    alpha=st.floats(0.001, 0.3),
)
def test_the_interval_and_the_status_never_contradict_each_other(
    delta, error, freedom, hidden, low, alpha
):
    estimate = Estimate(
        value=delta,
        standard_error=error,
        degrees_of_freedom=freedom,
        method=Method.JACKKNIFE,
        lower_bound=delta - hidden,
        upper_bound=delta + hidden,
    )
    results = results_of(metric_of("mcc", estimate))
    outcome = outcome_of(results, {"metric": "mcc", "value": {"min": low}}, alpha=alpha)
    below, above = outcome.interval
    slack = 1e-9
    if outcome.status is Status.PASS:
        assert below >= low - slack
    elif outcome.status is Status.FAIL:
        assert above <= low + slack
    else:
        assert below <= low + slack
        assert above >= low - slack


def test_reasons_have_the_numbers():
    results = results_of(*compared("auc", 0.8121, -0.0181, 0.001, key=DE))
    rule = {"metric": "auc", "test": "non_inferior", "margin": 0.01, "slices": {"country": "DE"}}
    assert outcome_of(results, rule).reason == (
        f"auc of version {CANDIDATE} on country=DE is 0.0181 worse than that of version {BASELINE}"
        " (0.794 against 0.8121), 90 % interval 0.016455 to 0.019745 worse;"
        " it may be at most 0.01 worse: none of the interval is."
    )

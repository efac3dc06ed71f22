"""The file of a verdict, there and back, and what is no verdict."""

import itertools
import json
import math

import pytest

from servable_core.errors import InvalidArgumentError, NotFoundError, ServableCoreError
from tests.transforms.evaluation.gated import compared, gate_of, results_of
from transforms.evaluation.gate import decide
from transforms.evaluation.results import ALL_ROWS
from transforms.evaluation.verdict import (
    CandidateVerdict,
    RuleOutcome,
    Severity,
    Status,
    Verdict,
    VerdictInputs,
    worst,
)
from transforms.evaluation.verdict_files import from_json, read_verdict, to_json, write_verdict

DE = (("country", "DE"), ("device", "tab\u00e9"))
INPUTS = VerdictInputs(config_sha256="c0", data_fingerprint="d0", models={7: "m7", 9: "m9"})


def _verdict(delta=-0.1, **section):
    results = results_of(*compared("auc", 0.8, 0.1), *compared("auc", 0.8, delta, key=DE))
    rules = [
        {"metric": "auc", "test": "superior", "slices": "all"},
        {"metric": "auc", "value": {"min": 0.1}, "slices": {"country": "XX"}, "severity": "warn"},
        {"metric": "gone", "value": {"min": 0.1}, "severity": "warn"},
    ]
    return decide(results, gate_of(*rules, **section), inputs=INPUTS)


@pytest.mark.parametrize("delta", [-0.1, 0.1])
def test_there_and_back(delta, tmp_path):
    verdict = _verdict(delta)
    write_verdict(verdict, str(tmp_path))
    assert read_verdict(str(tmp_path / "verdict.json")) == verdict
    assert verdict.status is (Status.FAIL if delta < 0 else Status.PASS)


def test_what_the_file_says():
    found = json.loads(to_json(_verdict()))
    assert list(found) == sorted(found)
    assert (found["schema"], found["verdict"], found["exit_code"]) == ("eval.verdict/1", "FAIL", 3)
    assert (found["model"], found["baseline"]) == ("ranker", 7)
    assert found["inputs"]["models"] == {"7": "m7", "9": "m9"}
    (candidate,) = found["candidates"]
    assert candidate["missing_slices"] == [{"country": "XX"}]
    rule = candidate["rules"][0]
    assert rule["slice"] == {"country": "DE", "device": "tab\u00e9"}
    assert (rule["status"], rule["test"], rule["n"]) == ("FAIL", "superior", 10_000)
    assert rule["delta"] == pytest.approx(-0.1)
    assert rule["ci"][0] < rule["ci"][1] < 0
    assert rule["reason"].endswith(".")


def test_equal_verdicts_are_equal_bytes():
    assert to_json(_verdict()) == to_json(_verdict())


def test_numbers_that_json_lacks_are_null():
    outcome = RuleOutcome(
        rule_id="r",
        metric="auc",
        test="value",
        status=Status.INCONCLUSIVE,
        reason="why",
        measured=math.nan,
        interval=(-math.inf, math.inf),
    )
    candidate = CandidateVerdict(version=9, outcomes=(outcome,))
    text = to_json(Verdict(model_name="m", baseline=None, candidates=(candidate,)))
    (rule,) = json.loads(text)["candidates"][0]["rules"]
    assert (rule["measured"], rule["ci"]) == (None, [None, None])
    assert from_json(text).candidates[0].outcomes[0].interval == (-math.inf, math.inf)


@pytest.mark.parametrize(("delta", "marker"), [(0.1, "BLESSED"), (-0.1, "NOT_BLESSED")])
def test_one_marker_says_which_verdict_is_there(delta, marker, tmp_path):
    """A verdict that is replaced leaves nothing of its own, and no temporary files."""
    write_verdict(_verdict(-delta), str(tmp_path))
    write_verdict(_verdict(delta), str(tmp_path))
    assert {each.name for each in tmp_path.iterdir()} == {"verdict.json", marker}


def test_a_marker_never_stands_beside_another_verdict(tmp_path):
    """Where the verdict cannot be written, the former marker is gone."""
    write_verdict(_verdict(0.1), str(tmp_path))
    (tmp_path / "verdict.json").unlink()
    (tmp_path / "verdict.json").mkdir()
    with pytest.raises((OSError, ServableCoreError), match="verdict"):
        write_verdict(_verdict(-0.1), str(tmp_path))
    assert not (tmp_path / "BLESSED").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "eval.verdict/9"}, "'eval.verdict/9', expected"),
        ({"schema": None}, "schema None"),
        ({"candidates": 3}, "is not whole"),
        ({"candidates": [{}]}, "is not whole"),
        ({"model": None}, "is not whole"),
        ({"inputs": {}}, "is not whole"),
        ({"verdict": "PASS"}, "changed by hand"),
        ({"exit_code": 0}, "changed by hand"),
        ({"candidates": []}, "changed by hand"),
    ],
    ids=str,
)
def test_what_is_no_verdict(change, message):
    found = {**json.loads(to_json(_verdict())), **change}
    with pytest.raises(InvalidArgumentError, match=message) as error:
        from_json(json.dumps(found), place="here.json")
    assert str(error.value).startswith("here.json ")


@pytest.mark.parametrize(
    ("text", "message"), [("not json", "is not JSON"), ("[]", "schema None"), ("3", "schema None")]
)
def test_what_is_no_verdict_at_all(text, message):
    with pytest.raises(InvalidArgumentError, match=message):
        from_json(text)


def test_no_verdict_at_all(tmp_path):
    with pytest.raises(NotFoundError, match="no verdict at"):
        read_verdict(str(tmp_path / "verdict.json"))


def test_the_order_of_statuses():
    order = [Status.PASS, Status.WARN, Status.INCONCLUSIVE, Status.FAIL, Status.ERROR]
    for lower, higher in itertools.pairwise(order):
        assert worst([lower, higher]) is worst([higher, lower]) is higher
    assert worst([]) is Status.PASS


def test_a_rule_that_only_warns_does_no_more():
    for status in (Status.FAIL, Status.INCONCLUSIVE, Status.ERROR):
        outcome = RuleOutcome(
            rule_id="r",
            metric="m",
            test="value",
            severity=Severity.WARN,
            status=status,
            reason="why",
            slice=ALL_ROWS,
        )
        assert outcome.effect is Status.WARN
        assert CandidateVerdict(version=1, outcomes=(outcome,)).status is Status.PASS

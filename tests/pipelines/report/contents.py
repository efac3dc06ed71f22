"""Report contents of made-up rows, measured by the real metrics."""

from dataclasses import replace

import numpy as np

from pipelines.report.content import COMMAND_LINE, ReportContent
from tests.transforms.metrics.evaluated import batch_of
from transforms.evaluation.results import EvaluationResults, MetricResult, SliceResult
from transforms.evaluation.verdict import (
    CandidateVerdict,
    RuleOutcome,
    Severity,
    Status,
    Verdict,
)
from transforms.metrics import (
    EvaluationOptions,
    Task,
    create_evaluation,
    curves_of,
    top_rows,
    transitions,
)

HOSTILE = "<script>alert(1)</script>"
_FACTS = {
    "model 1": "models/visits/1, sha256:4f0c9d",
    "data": "20,190 rows in 4 files",
    "packages": "tensorflow 2.21.0, apache-beam 2.77.0",
    COMMAND_LINE: "run_pipeline.py evaluate --baseline=1 --candidate=2,3 --slice=country",
}


def content_of(task, predictions, labels, slices, versions, *, verdict=None, **options):
    """Returns the content of rows; `slices` names the slices and holds a mask of rows for each."""
    ids = np.full((predictions.shape[1], len(slices)), -1)
    for place, mask in enumerate(slices.values()):
        ids[mask, place] = place + 1
    batch = batch_of(predictions, labels, slices=ids if slices else None)
    options = EvaluationOptions(
        task=task, num_versions=len(predictions), is_labelled=labels is not None, **options
    )
    evaluation = create_evaluation(options)
    states = evaluation.update(batch)
    keys = [(), *slices]
    results = _results(evaluation, states, keys, versions)
    indices = range(len(versions))
    return ReportContent(
        task=task,
        results=results,
        verdict=verdict,
        curves={versions[i]: curves_of(options, states, 0, i) for i in indices},
        top_rows={versions[i]: top_rows(states, 0, i) for i in indices if i},
        transitions={versions[i]: transitions(states, 0, i) for i in indices if i},
        facts=_FACTS,
    )


def _results(evaluation, states, keys, versions):
    slices = tuple(
        SliceResult(
            slice_id=i,
            key=key,
            num_rows=(rows := evaluation.num_valid_rows(states, i)),
            is_scored=rows >= 30,
        )
        for i, key in enumerate(keys)
    )
    metrics = tuple(
        MetricResult(
            metric=value.metric,
            sub_key=value.sub_key,
            version=versions[value.version],
            is_difference=value.is_difference,
            slice=each.key,
            num_rows=each.num_rows,
            estimate=value.estimate,
        )
        for each in slices
        if each.is_scored
        for value in evaluation.finalise(states, each.slice_id)
    )
    return EvaluationResults(
        model_name="visits",
        baseline=versions[0],
        candidates=tuple(versions[1:]),
        slices=slices,
        metrics=metrics,
    )


def binary_rows(num_rows=6000, num_versions=3, seed=0, other=HOSTILE):
    """Returns labels, and probabilities of versions of which the last fails on `country=DE`."""
    rng = np.random.default_rng(seed)
    countries = rng.choice(["DE", "FR", "IT", "ES", "PL", other], num_rows)
    labels = (rng.random(num_rows) < 0.35).astype(float)
    common, own = rng.normal(size=num_rows), rng.normal(size=(num_versions, num_rows))
    gains = np.linspace(0.8, 1.5, num_versions)
    logits = gains[:, None] * (2 * labels - 1) + common + 0.4 * own - 0.4
    logits[-1, countries == "DE"] -= 3.0
    return labels, (1 / (1 + np.exp(-logits))).astype(np.float32), countries


def country_slices(countries):
    """Returns a slice for each country, some crosses, and one that is too small."""
    names = sorted(set(countries))
    halves = np.arange(countries.size) % 2 == 0
    slices = {(("country", name),): countries == name for name in names}
    for name in names:
        for half, device in ((halves, "phone"), (~halves, "tablet")):
            slices[("country", name), ("device", device)] = (countries == name) & half
    slices[("country", "LU"),] = np.arange(countries.size) < 12
    return slices


def binary_content(versions=(1, 2, 3), *, verdict=None, num_rows=6000):
    """Returns the content of a binary task with slices."""
    labels, predictions, countries = binary_rows(num_rows, len(versions))
    slices = country_slices(countries)
    return content_of(Task.BINARY, predictions, labels, slices, versions, verdict=verdict)


def long_names_content():
    """Returns the content of rows whose slices, model, keys and facts have long names."""
    name = "Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch" * 4
    labels, predictions, countries = binary_rows(1500, 3, other=name)
    content = content_of(
        Task.BINARY, predictions, labels, country_slices(countries), (1, 2, 3_000_000_000)
    )
    rows = {
        version: [replace(each, key=name) for each in found[:2]]
        for version, found in content.top_rows.items()
    }
    results = replace(content.results, model_name=name)
    facts = {name: name, COMMAND_LINE: name}
    return replace(content, results=results, top_rows=rows, facts=facts, verdict=_verdict_of(name))


def _verdict_of(name):
    """Returns a verdict of each kind, with long names."""
    candidates = [
        CandidateVerdict(
            version=2,
            outcomes=tuple(
                RuleOutcome(
                    rule_id=name,
                    metric="auc",
                    slice=((name[:40], name),),
                    test="non_inferior",
                    status=status,
                    reason=f"{name} is not {name}",
                )
                for status in (Status.INCONCLUSIVE, Status.PASS, Status.SKIPPED)
            ),
        ),
        CandidateVerdict(version=3_000_000_000, problem=f"the gate has no rules of {name}"),
    ]
    return Verdict(model_name=name, baseline=1, candidates=tuple(candidates))


def multiclass_content():
    """Returns the content of a task with five classes."""
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 5, 3000).astype(float)
    logits = rng.normal(size=(2, 3000, 5))
    logits[0, np.arange(3000), labels.astype(int)] += 1.5
    logits[1, np.arange(3000), labels.astype(int)] += 1.8
    logits[1, labels == 2, 2] -= 1.2
    scores = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    slices = {(("site", "a"),): rng.random(3000) < 0.5}
    return content_of(Task.MULTICLASS, scores, labels, slices, (7, 9), num_classes=5)


def regression_content():
    """Returns the content of a regression."""
    rng = np.random.default_rng(2)
    labels = 50 + 20 * rng.normal(size=3000)
    predictions = labels + np.stack([6 * rng.normal(size=3000) + 1, 5 * rng.normal(size=3000)])
    slices = {(("site", "a"),): rng.random(3000) < 0.5, (("site", "b"),): labels > 60}
    return content_of(Task.REGRESSION, predictions, labels, slices, (1, 2))


def unlabelled_content():
    """Returns the content of rows without labels."""
    _, predictions, countries = binary_rows(2000, 2)
    return content_of(Task.BINARY, predictions, None, country_slices(countries), (1, 2))


def failing_verdict():
    """Returns a verdict that version 2 passes and version 3 does not."""
    kept = RuleOutcome(
        rule_id="r1",
        metric="auc",
        test="superior",
        status=Status.PASS,
        reason="the change of auc is +0.0712 [+0.0631, +0.0793], above 0",
        num_rows=6000,
        measure="improvement",
        measured=0.0712,
        interval=(0.0631, 0.0793),
        low=0.0,
    )
    failed = RuleOutcome(
        rule_id="r2",
        metric="log_loss",
        slice=(("country", "DE"),),
        test="non_inferior",
        status=Status.FAIL,
        reason="on country=DE log_loss changes by +0.31 [+0.27, +0.35]; at most +0.05 is allowed",
        num_rows=1000,
        measure="improvement",
        measured=-0.31,
        interval=(-0.35, -0.27),
        low=-0.05,
    )
    warned = RuleOutcome(
        rule_id="r3",
        metric="psi",
        test="value",
        severity=Severity.WARN,
        status=Status.FAIL,
        reason=f"psi is 0.18, at most 0.1 is allowed {HOSTILE}",
        num_rows=6000,
        measure="value",
        measured=0.18,
        high=0.1,
    )
    return Verdict(
        model_name="visits",
        baseline=1,
        candidates=(
            CandidateVerdict(version=2, outcomes=(kept,)),
            CandidateVerdict(version=3, outcomes=(kept, warned, failed)),
        ),
    )


def single_content():
    """Returns the content of the first version of a model, which is compared with none."""
    return binary_content((1,), num_rows=500)


def large_content():
    """Returns the content of four versions, 60 slices, and thousands of checks of each."""
    labels, predictions, _ = binary_rows(2000, 4)
    rng = np.random.default_rng(4)
    slices = {
        (("segment", f"a segment with a long name, number {i:04d}"),): rng.random(2000) < 0.05
        for i in range(60)
    }
    versions = (1, 2, 3, 4)
    outcomes = tuple(
        RuleOutcome(
            rule_id="r1",
            metric="log_loss",
            slice=key,
            test="non_inferior",
            status=status,
            reason="a sentence that says why, with numbers " * 3,
            measure="improvement",
            measured=0.1,
            low=-0.01,
        )
        for status in (Status.FAIL, Status.PASS)
        for key in slices
        for _ in range(20)
    )
    verdict = Verdict(
        model_name="visits",
        baseline=1,
        candidates=tuple(
            CandidateVerdict(version=each, outcomes=outcomes) for each in versions[1:]
        ),
    )
    return content_of(Task.BINARY, predictions, labels, slices, versions, verdict=verdict)

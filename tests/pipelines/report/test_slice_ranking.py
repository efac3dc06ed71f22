import math

import pytest

from pipelines.report.comparison import Effect
from pipelines.report.content import ReportContent
from pipelines.report.slice_ranking import ranked_slices, with_effect
from transforms.evaluation.results import EvaluationResults, MetricResult, SliceResult
from transforms.metrics import Estimate, Method, Task


def _content(metric, changes):
    """Returns content in which a metric changes by so much, with such an error, on each slice."""
    slices = [SliceResult(slice_id=0, key=(), num_rows=100, is_scored=True)]
    metrics = []
    for number, (name, (change, error)) in enumerate(changes.items(), start=1):
        key = (("s", name),)
        slices.append(SliceResult(slice_id=number, key=key, num_rows=50, is_scored=True))
        for version, is_difference, value in (
            (1, False, 1.0),
            (2, False, 1.0 + change),
            (2, True, change),
        ):
            metrics.append(
                MetricResult(
                    metric=metric,
                    version=version,
                    is_difference=is_difference,
                    slice=key,
                    num_rows=50,
                    estimate=Estimate(value=value, standard_error=error, method=Method.MEAN),
                )
            )
    results = EvaluationResults(
        model_name="m", baseline=1, candidates=(2,), slices=tuple(slices), metrics=tuple(metrics)
    )
    return ReportContent(task=Task.BINARY, results=results)


_CHANGES = {
    "small but sure": (-0.02, 0.001),
    "large but unsure": (-0.2, 0.15),
    "better": (0.1, 0.01),
    "undefined": (math.nan, math.nan),
}


@pytest.mark.parametrize(("metric", "sign"), [("auc", 1), ("log_loss", -1)])
def test_the_clearest_loss_comes_first_whichever_way_is_better(metric, sign):
    changes = {name: (sign * change, error) for name, (change, error) in _CHANGES.items()}
    ranked = ranked_slices(_content(metric, changes), 2, metric)
    names = [each.slice.key[0][1] for each in ranked]
    assert names == ["small but sure", "large but unsure", "better"]
    effects = [each.comparison.effect for each in ranked]
    assert effects == [Effect.WORSE, Effect.UNCLEAR, Effect.BETTER]
    assert [each.slice.key[0][1] for each in with_effect(ranked, Effect.BETTER)] == ["better"]


def test_a_metric_without_a_direction_changes_neither_for_the_better_nor_for_the_worse():
    ranked = ranked_slices(_content("mean_prediction", _CHANGES), 2, "mean_prediction")
    assert [(each.slice.key[0][1], each.comparison.effect) for each in ranked] == [
        ("small but sure", Effect.CHANGED),
        ("better", Effect.CHANGED),
        ("large but unsure", Effect.UNCLEAR),
    ]


def test_a_loss_without_any_doubt_comes_first_and_such_a_gain_last():
    changes = {"sure loss": (-0.01, 0.0), "sure gain": (0.01, 0.0), "same": (0.0, 0.0), **_CHANGES}
    ranked = ranked_slices(_content("auc", changes), 2, "auc")
    names = [each.slice.key[0][1] for each in ranked]
    assert (names[0], names[-1]) == ("sure loss", "sure gain")

"""What holds of any evaluation, whatever its rows."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servable_core.errors import DataLossError, InvalidArgumentError
from tests.transforms.metrics.evaluated import (
    Values,
    batch_of,
    evaluate,
    evaluation_of,
    parquet_bytes,
    two_models,
)
from transforms.metrics import NO_SLICE, Accumulator, Method, Task
from transforms.metrics.row_means import RowMeans
from transforms.metrics.row_metric import RowMetric

_ROWS = 150


class _Case:
    """A task with rows of two versions, in slices, with weights."""

    def __init__(self, task, seed=0, rows=_ROWS):
        rng = np.random.default_rng(seed)
        self.task, self.rows, self.options = task, rows, {}
        self.weights = rng.choice([0.0, 0.3, 1.0, 2.0], rows)
        self.slices = rng.integers(1, 4, (rows, 1))
        self.keys = np.array([f"row {each}" for each in range(rows)])
        if task is Task.BINARY:
            self.labels, self.predictions = two_models(rng, rows)
        elif task is Task.MULTICLASS:
            self.predictions = rng.dirichlet([1, 1, 1], size=(2, rows))
            self.labels = rng.integers(0, 3, rows).astype(float)
            self.options = {"num_classes": 3}
        else:
            self.labels = rng.normal(size=rows) * 100
            self.predictions = self.labels + rng.normal(size=(2, rows))

    def evaluation(self, **options):
        return evaluation_of(self.task, 2, is_weighted=True, **self.options, **options)

    def batch(self, which=slice(None), *, is_weighted=True):
        weights = self.weights[which] if is_weighted else None
        return batch_of(
            self.predictions[:, which],
            self.labels[which],
            weights,
            self.slices[which],
            self.keys[which],
        )

    def values(self, batch, slice_id=0, **options):
        return evaluate(batch, self.task, slice_id, **self.options, **options)


_TASKS = pytest.mark.parametrize("task", list(Task))


def _bytes(evaluation, states):
    return {name: parquet_bytes(each) for name, each in evaluation.to_tables(states).items()}


@_TASKS
@settings(max_examples=15)
@given(
    seed=st.integers(0, 10**6),
    cuts=st.sets(st.integers(0, _ROWS), max_size=5),
    max_distinct=st.sampled_from([10, 60, 4096]),
)
def test_any_bundling_and_order_gives_the_same_bytes(task, seed, cuts, max_distinct):
    case = _Case(task, seed)
    evaluation = case.evaluation(max_distinct=max_distinct)
    order = np.random.default_rng(seed).permutation(_ROWS)
    parts = [evaluation.update(case.batch(each)) for each in np.split(order, sorted(cuts))]
    whole = _bytes(evaluation, evaluation.merge([evaluation.update(case.batch())]))
    assert _bytes(evaluation, evaluation.merge(iter(parts))) == whole
    accumulator = Accumulator(evaluation)
    for part in parts:
        accumulator.add(part)
        accumulator.merged()
    assert _bytes(evaluation, accumulator.merged()) == whole


@pytest.mark.parametrize("is_weighted", [False, True])
def test_many_rows_in_slices_of_all_sizes_give_the_same_bytes_in_one_batch_or_many(is_weighted):
    rng, rows = np.random.default_rng(0), 40_000
    labels, scores = two_models(rng, rows)
    scores[:, ::3] = scores[:, ::3].round(3)  # some are crowded, some repeat a lot
    slices = np.minimum(rng.geometric(0.3, (rows, 2)), 12) + np.array([0, 20])
    slices[rng.random(slices.shape) < 0.01] = NO_SLICE
    weights = rng.integers(0, 9, rows) / 8 if is_weighted else np.ones(rows)
    evaluation = evaluation_of(is_weighted=is_weighted)

    def states(which):
        some = weights[which] if is_weighted else None
        batch = batch_of(scores[:, which], labels[which], some, slices[which], which)
        return evaluation.update(batch)

    whole = _bytes(evaluation, evaluation.merge([states(np.arange(rows))]))
    parts = np.array_split(rng.permutation(rows), 9)
    assert _bytes(evaluation, evaluation.merge(map(states, parts))) == whole


def test_a_generator_of_many_states_is_merged():
    case = _Case(Task.BINARY)
    evaluation = case.evaluation()
    each_row = (evaluation.update(case.batch([row])) for row in range(50))
    whole = _bytes(evaluation, evaluation.update(case.batch(np.arange(50))))
    assert _bytes(evaluation, evaluation.merge(each_row)) == whole


@_TASKS
def test_tables_become_the_states_again(task):
    case = _Case(task)
    evaluation = case.evaluation(max_distinct=20)
    states = evaluation.update(case.batch())
    again = evaluation.from_tables(evaluation.to_tables(states))
    assert _bytes(evaluation, again) == _bytes(evaluation, states)
    first, second = (Values(evaluation, each).all() for each in (states, again))
    assert repr(first) == repr(second)


@_TASKS
def test_slices_add_up_to_all_rows(task):
    case = _Case(task)
    evaluation = case.evaluation()
    together = evaluation.update(case.batch())
    moved = case.batch()
    moved.slice_ids[:, 0] = -1
    moved.slice_ids[:, 1] = 0
    assert _bytes(evaluation, evaluation.update(moved)) != _bytes(evaluation, together)
    for slice_id in (1, 2, 3):
        alone = case.values(case.batch(case.slices[:, 0] == slice_id))
        within = Values(evaluation, together, slice_id)
        assert _rounded(within) == _rounded(alone)
    assert evaluation.slices(together) == [0, 1, 2, 3]
    counts = [evaluation.num_valid_rows(together, each) for each in range(4)]
    assert counts[0] == sum(counts[1:]) == _ROWS
    whole, *parts = (together["means"].dense(each) for each in range(4))
    assert sum(parts) == pytest.approx(whole, rel=1e-14, abs=1e-14)


def _rounded(values):
    return {
        key: f"{each.value:.9g} {each.standard_error:.6g}" for key, each in values.all().items()
    }


@_TASKS
def test_a_weight_of_three_is_three_rows(task):
    case = _Case(task)
    case.weights[:] = 3
    thrice = case.batch(np.tile(np.arange(_ROWS), 3), is_weighted=False)
    heavy, many = case.values(case.batch()), case.values(thrice)
    counted = ("psi", "mcnemar", "wins", "losses", "rows", "valid_rows", "undefined_rows")
    for key, each in heavy.all().items():
        if not key[0].startswith(counted):
            value = many.all()[key].value
            assert math.isclose(each.value, value, rel_tol=1e-12, abs_tol=1e-12), key


@_TASKS
def test_a_version_does_not_differ_from_itself(task):
    case = _Case(task)
    case.predictions = np.stack([case.predictions[0]] * 2)
    found = case.values(case.batch(is_weighted=False))
    same = {"equal_to_baseline", "backward_trust", "backward_error"}
    undefined = {"win_loss_ratio", "psi_expected", "psi_noise"}
    for (metric, *_), each in found.differences().items():
        if metric.startswith("mcnemar") or metric in undefined:
            continue
        assert each.value == (1 if metric in same else 0), metric
        never_sure = {Method.DELTA, Method.WILSON, Method.BOUND}
        if each.method not in never_sure:
            assert not each.standard_error > 0, metric


@_TASKS
def test_exchanged_versions_negate_each_difference(task):
    case = _Case(task)
    forth = case.values(case.batch())
    case.predictions = case.predictions[::-1]
    back = case.values(case.batch())
    own = {(metric, sub_key) for metric, _, sub_key, paired in forth.all() if not paired}
    changes = [key for key in forth.differences() if (key[0], key[2]) in own]
    assert changes
    for key in changes:
        one, other = forth.differences()[key], back.differences()[key]
        assert math.isclose(one.value, -other.value, rel_tol=1e-9, abs_tol=1e-12), key
        if not math.isnan(one.standard_error):
            assert math.isclose(
                one.standard_error, other.standard_error, rel_tol=1e-6, abs_tol=1e-9
            )


def test_an_auc_only_knows_the_order_of_scores():
    case = _Case(Task.BINARY)
    before = case.values(case.batch()).value("auc")
    case.predictions = (case.predictions / 2).astype(np.float32)  # exact in binary
    assert case.values(case.batch()).value("auc") == before
    case.labels = 1 - case.labels
    assert math.isclose(case.values(case.batch()).value("auc"), 1 - before)


@_TASKS
def test_no_rows_have_no_metrics_and_raise_nothing(task):
    case = _Case(task)
    evaluation = case.evaluation()
    for states in (evaluation.create(), evaluation.merge([]), evaluation.update(case.batch([]))):
        assert _bytes(evaluation, states) == _bytes(evaluation, evaluation.create())
        with np.errstate(all="raise"):
            found = Values(evaluation, states)
        assert found.value("rows") == 0
        assert not any(
            math.isfinite(each.standard_error) and each.standard_error > 0
            for each in found.all().values()
        )
        assert math.isnan(found.value("mae" if task is Task.REGRESSION else "log_loss"))
    assert evaluation.slices(evaluation.create()) == []


@_TASKS
def test_rows_in_no_slice_count_nowhere(task):
    case = _Case(task)
    batch = case.batch()
    batch.slice_ids[:] = NO_SLICE
    evaluation = case.evaluation()
    assert _bytes(evaluation, evaluation.update(batch)) == _bytes(evaluation, evaluation.create())


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_one_class_alone_has_no_ranking_but_the_rest(label):
    case = _Case(Task.BINARY)
    case.labels[:] = label
    with np.errstate(all="raise", under="ignore"):
        found = case.values(case.batch(is_weighted=False))
    for metric in ("auc", "ks", "partial_auc_0.1"):
        assert math.isnan(found.value(metric))
        assert math.isnan(found.estimate(metric).standard_error)
    assert found.value("log_loss") > 0
    assert math.isfinite(found.estimate("accuracy", 0, "threshold=0.5").interval()[0])


@_TASKS
def test_one_row_is_enough_for_values_but_for_no_interval(task):
    case = _Case(task)
    with np.errstate(all="raise", under="ignore"):
        found = case.values(case.batch([0], is_weighted=False))
    estimate = found.estimate("mae" if task is Task.REGRESSION else "log_loss")
    assert math.isfinite(estimate.value)
    assert math.isnan(estimate.interval()[0])


@_TASKS
def test_data_without_labels_tells_what_differs(task):
    case = _Case(task)
    unlabelled = batch_of(case.predictions, keys=case.keys)
    found = case.values(unlabelled)
    names = found.names()
    assert {"psi", "js_distance", "ks_drift", "absolute_difference", "equal_to_baseline"} <= names
    assert not {"auc", "log_loss", "mae"} & names
    labelled = case.values(case.batch(is_weighted=False))
    key = ("absolute_difference", 1, "quantile=0.9")
    assert found.change(*key) == labelled.change(*key)


def test_three_versions_are_compared_with_the_first():
    case = _Case(Task.BINARY)
    predictions = np.stack([*case.predictions, case.predictions[0]])
    found = evaluate(batch_of(predictions, case.labels))
    pair = evaluate(batch_of(case.predictions, case.labels))
    assert found.change("auc", 1) == pair.change("auc", 1)
    assert found.estimate("auc", 1, is_difference=True) == pair.estimate(
        "auc", 1, is_difference=True
    )
    assert found.change("auc", 2) == found.change("churn", 2, "threshold=0.5") == 0


def test_one_version_alone_is_not_compared():
    case = _Case(Task.BINARY)
    found = evaluate(batch_of(case.predictions[:1], case.labels))
    assert not found.differences()
    assert found.value("auc") > 0.5


def test_states_of_other_metrics_are_refused():
    binary, regression = _Case(Task.BINARY).evaluation(), _Case(Task.REGRESSION).evaluation()
    with pytest.raises(DataLossError, match="no tables of"):
        binary.from_tables(regression.to_tables(regression.create()))


def test_two_families_cannot_keep_one_state():
    mine = RowMeans(
        name="means",
        metrics=(RowMetric("own", lambda batch: batch.predictions),),
        num_versions=2,
        num_blocks=32,
    )
    with pytest.raises(InvalidArgumentError, match="two families keep states named"):
        evaluation_of(Task.BINARY, families=(mine,))


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_blocks": 0},
        {"num_classes": 1},
        {"quantiles": (0.5, 1.5)},
        {"min_precision": 0.0},
        {"num_versions": 0},
    ],
)
def test_options_are_checked_when_made(wrong):
    with pytest.raises(InvalidArgumentError, match=str(next(iter(wrong.values())))[-4:-1] or "got"):
        evaluation_of(**{"task": Task.BINARY, "num_versions": 2, **wrong})


def test_a_batch_has_columns_of_one_length():
    with pytest.raises(InvalidArgumentError, match="one length"):
        batch_of(np.zeros((2, 3)), labels=[0.0])


def test_tables_can_be_read_without_this_package():
    case = _Case(Task.BINARY)
    evaluation = case.evaluation()
    table = evaluation.to_tables(evaluation.update(case.batch()))["decisions"]
    assert table.column_names[:5] == ["slice", "block", "version", "table", "cell"]
    overall = table.filter(pa.compute.equal(table["slice"], 0))
    assert sum(overall["rows"].to_pylist()) == (case.weights > 0).sum()
    assert math.isclose(sum(overall["weight.0"].to_pylist()) / 2**44, case.weights.sum())

import io
import pickle
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servable_core.errors import DataLossError, InvalidArgumentError
from tests.transforms.metrics.evaluated import parquet_bytes
from transforms.metrics import fixed_point, float_bins
from transforms.metrics.counters import Counters
from transforms.metrics.fixed_sums import FixedSums
from transforms.metrics.float_bins import Scale
from transforms.metrics.histogram import Histogram
from transforms.metrics.histogram_options import HistogramOptions
from transforms.metrics.key_layout import KeyLayout
from transforms.metrics.slice_columns import slice_columns
from transforms.metrics.top_rows import TopRows

_LAYOUT = KeyLayout(names=("slice", "block"), sizes=(4,))
_FEW = HistogramOptions(scale=Scale.PROBABILITY, num_channels=2, num_blocks=4, max_distinct=20)
_ROWS = 120


class _Rows:
    """Rows of every kind: many slices, ties, zeros, large and small numbers, weights."""

    def __init__(self, seed):
        rng = np.random.default_rng(seed)
        self.slices = rng.integers(0, 3, _ROWS)
        self.blocks = rng.integers(0, 4, _ROWS)
        self.labels = rng.integers(0, 2, _ROWS)
        self.scores = np.round(rng.random(_ROWS), int(rng.integers(1, 8)))
        self.weights = rng.choice([0.0, 0.1, 1.0, 3.0], _ROWS)
        self.values = rng.normal(size=(2, _ROWS)) * 10.0 ** rng.integers(-9, 15, _ROWS)


def _counters(rows, which):
    keys = _LAYOUT.pack(rows.slices[which], rows.blocks[which])
    counts = np.stack([rows.labels[which], 1 - rows.labels[which]], axis=1)
    return Counters.of_rows(_LAYOUT, ("yes", "no"), keys, counts)


def _sums(rows, which):
    keys = _LAYOUT.pack(rows.slices[which], rows.blocks[which])
    return _sums_of(("a", "b"), keys, rows.values[:, which])


def _words(values):
    words = [each.values for each in fixed_point.to_words(values)]
    return np.stack([*words, np.zeros(values.size, np.int64)], axis=-1)


def _sums_of(names, keys, values):
    found = [_words(each) for each in values]
    most = max(each.shape[-1] for each in found)
    words = [fixed_point.pad(each, most) for each in found]
    return FixedSums.of_words(_LAYOUT, names, keys, np.stack(words, axis=1))


def _histogram(rows, which):
    return _histogram_of(
        _FEW,
        rows.slices[which],
        np.stack([rows.scores[which], 1 - rows.scores[which]]),
        rows.labels[which],
        rows.blocks[which],
    )


def _weighted_histogram(rows, which):
    which = which[rows.weights[which] > 0]
    return _histogram_of(
        replace(_FEW, is_weighted=True),
        rows.slices[which],
        np.stack([rows.scores[which], 1 - rows.scores[which]]),
        rows.labels[which],
        rows.blocks[which],
        rows.weights[which],
    )


def _histogram_of(options, slices, numbers, labels, blocks, weights=None):
    return Histogram.of_rows(
        options,
        slice_columns(slices[:, None]),
        numbers=float_bins.to_ordered_bits(numbers),
        labels=np.broadcast_to(labels, numbers.shape),
        blocks=blocks,
        weights=weights,
    )


def _top_rows(rows, which):
    table = {
        "slice": rows.slices[which],
        "version": rows.blocks[which],
        "difference": rows.scores[which],
        "key": rows.labels[which].astype(str),
        "label": rows.labels[which].astype(float),
        "baseline": rows.weights[which],
        "prediction": rows.weights[which],
    }
    schema = TopRows.empty(3).rows.schema
    return TopRows.of_rows(3, pa.table(table).cast(schema))


_KINDS = pytest.mark.parametrize(
    "make", [_counters, _sums, _histogram, _weighted_histogram, _top_rows]
)


def _bytes(state):
    return parquet_bytes(state.to_table())


@_KINDS
@settings(max_examples=40)
@given(seed=st.integers(0, 10**6), cuts=st.sets(st.integers(0, _ROWS), max_size=6), data=st.data())
def test_any_partition_in_any_order_gives_the_same_bytes(make, seed, cuts, data):
    rows = _Rows(seed)
    order = np.random.default_rng(seed).permutation(_ROWS)
    parts = [make(rows, each) for each in np.split(order, sorted(cuts))]
    parts = data.draw(st.permutations(parts))
    whole = _bytes(make(rows, np.arange(_ROWS)))
    merge = type(parts[0]).merge
    assert _bytes(merge(parts)) == whole
    half = len(parts) // 2 or 1
    tree = [merge(each) for each in (parts[:half], parts[half:]) if each]
    assert _bytes(merge(tree)) == whole


@_KINDS
@pytest.mark.parametrize("kind", [list, tuple, iter, lambda each: (one for one in each)])
def test_merge_takes_any_iterable_once(make, kind):
    rows = _Rows(1)
    parts = [make(rows, each) for each in np.array_split(np.arange(_ROWS), 2)]
    before = [_bytes(each) for each in parts]
    merged = type(parts[0]).merge(kind(parts))
    assert _bytes(merged) == _bytes(make(rows, np.arange(_ROWS)))
    assert [_bytes(each) for each in parts] == before


@_KINDS
def test_an_empty_state_is_the_identity(make):
    state, none = make(_Rows(2), np.arange(_ROWS)), make(_Rows(2), np.arange(0))
    for states in ([state], [none, state], [state, none]):
        assert _bytes(type(state).merge(states)) == _bytes(state)
    assert _bytes(type(none).merge([none, none])) == _bytes(none)


@_KINDS
def test_merge_of_nothing_says_what_to_do(make):
    with pytest.raises(InvalidArgumentError, match="begin with an empty one"):
        type(make(_Rows(0), np.arange(0))).merge([])


@_KINDS
@pytest.mark.parametrize("rows", [0, _ROWS])
def test_a_table_becomes_the_state_again(make, rows):
    state = make(_Rows(3), np.arange(rows))
    again = type(state).from_table(state.to_table())
    assert _bytes(again) == _bytes(state)
    assert _bytes(type(state).merge([again, state])) == _bytes(type(state).merge([state, state]))


@_KINDS
@pytest.mark.parametrize("rows", [0, _ROWS])
def test_a_file_becomes_the_state_again(make, rows):
    state = make(_Rows(3), np.arange(rows))
    table = pq.read_table(io.BytesIO(_bytes(state)))
    assert _bytes(type(state).from_table(table)) == _bytes(state)


@_KINDS
def test_a_state_travels_between_processes(make):
    state = make(_Rows(3), np.arange(_ROWS))
    assert _bytes(pickle.loads(pickle.dumps(state))) == _bytes(state)


@_KINDS
def test_a_foreign_table_is_refused(make):
    with pytest.raises(DataLossError, match="expected a table of kind"):
        type(make(_Rows(0), np.arange(0))).from_table(pa.table({"slice": [1]}))


def _arrays(state):
    if isinstance(state, Histogram):
        return state.cells.arrays()
    return [state.keys, *([state.counts] if isinstance(state, Counters) else state.columns)]


@pytest.mark.parametrize("make", [_counters, _sums, _histogram])
def test_nothing_is_shared_with_an_argument_and_nothing_can_be_written(make):
    state = make(_Rows(4), np.arange(_ROWS))
    merged = type(state).merge([state])
    for mine, yours in zip(_arrays(merged), _arrays(state), strict=True):
        assert not np.shares_memory(mine, yours)
        assert not mine.flags.writeable


def test_states_of_different_evaluations_are_not_merged():
    rows = np.arange(_ROWS)
    keys = _LAYOUT.pack(_Rows(0).slices, _Rows(0).blocks)
    other = _sums_of(("a", "c"), keys, _Rows(0).values)
    with pytest.raises(InvalidArgumentError, match="list of sums only"):
        FixedSums.merge([_sums(_Rows(0), rows), other])


def _one_distribution(numbers, max_distinct):
    options = HistogramOptions(
        scale=Scale.PROBABILITY, num_channels=1, num_blocks=1, max_distinct=max_distinct
    )
    nothing = np.zeros(len(numbers), dtype=np.int64)
    return _histogram_of(options, nothing, np.asarray(numbers)[None], nothing, nothing)


@pytest.mark.parametrize(("distinct", "is_exact"), [(10, True), (11, False)])
def test_a_histogram_is_exact_up_to_so_many_distinct_numbers(distinct, is_exact):
    numbers = np.tile(np.linspace(0.1, 0.9, distinct), 3)
    whole = _one_distribution(numbers, 10)
    merged = Histogram.merge(_one_distribution(each, 10) for each in np.array_split(numbers, 7))
    for each in (whole, merged):
        found = each.distribution(0, 0)
        assert found.is_exact is is_exact
        assert found.weights.sum() == numbers.size
    if is_exact:
        assert (whole.distribution(0, 0).lower == np.float32(np.unique(numbers))).all()


def test_an_exact_part_is_binned_with_a_part_that_fell_into_few_bins():
    crowded = 0.3 + np.arange(11) * 1e-7
    parts = [_one_distribution(crowded, 10), _one_distribution([0.7000001], 10)]
    whole = _bytes(_one_distribution([*crowded, 0.7000001], 10))
    assert parts[0].distribution(0, 0).lower.size == 1
    assert _bytes(Histogram.merge(parts)) == whole
    assert _bytes(Histogram.merge(parts[::-1])) == whole


def test_a_slice_keeps_its_numbers_when_another_is_binned():
    rows = _Rows(5)
    rows.scores = np.where(rows.slices == 0, np.linspace(0, 1, _ROWS), 0.25)
    state = _histogram(rows, np.arange(_ROWS))
    assert not state.distribution(0, 0).is_exact
    assert state.distribution(1, 0).is_exact


@pytest.mark.parametrize("shift", [0, 5, 64])
def test_sums_of_other_cells_are_merged_as_they_are(shift):
    rng = np.random.default_rng(shift)
    keys = [np.sort(rng.permutation(64)[:20]), 2 * np.arange(20) + shift]
    keys[1] = keys[1][~np.isin(keys[1], keys[0])]
    values = [np.array([keys[0] % 7, keys[0]]), np.array([keys[1] % 7, keys[1] * 0.3])]
    parts = [_sums_of(("a", "b"), *each) for each in zip(keys, values, strict=True)]
    whole = _bytes(_sums_of(("a", "b"), np.concatenate(keys), np.concatenate(values, axis=1)))
    assert _bytes(FixedSums.merge(parts)) == whole
    assert _bytes(FixedSums.merge(parts[::-1])) == whole


@pytest.mark.parametrize("size", [0.25, 2.0**25 + 2.0**-20, 2.0**80 + 2.0**30])
def test_sums_that_cancel_out_are_no_cells_however_they_came(size):
    keys = np.arange(6)
    ups, downs = np.full((2, 6), size), np.full((2, 6), -size)
    downs[:, 0] = size  # the one that does not
    whole = _sums_of(("a", "b"), np.tile(keys, 2), np.concatenate([ups, downs], axis=1))
    parts = [_sums_of(("a", "b"), keys, each) for each in (ups, downs)]
    some = [
        _sums_of(("a", "b"), keys[1:], downs[:, 1:]),
        _sums_of(("a", "b"), keys[:1], ups[:, :1]),
    ]
    assert whole.keys.size == 1
    assert _bytes(FixedSums.merge(parts)) == _bytes(whole)
    assert _bytes(FixedSums.merge(parts[::-1])) == _bytes(whole)
    assert _bytes(FixedSums.merge([parts[0], *some])) == _bytes(whole)


def test_a_slice_id_beyond_the_layout_is_refused():
    with pytest.raises(InvalidArgumentError, match="evaluate fewer slices"):
        _LAYOUT.pack(np.array([2**62]), np.array([0]))
    with pytest.raises(InvalidArgumentError, match="between 0 and"):
        _LAYOUT.pack(np.array([-1]), np.array([0]))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), min_size=1))
def test_keys_hold_their_coordinates_in_order(pairs):
    slices, blocks = np.array(pairs).T
    keys = _LAYOUT.pack(slices, blocks)
    assert [tuple(each) for each in np.stack(_LAYOUT.unpack(keys), axis=1)] == pairs
    assert (np.argsort(keys, kind="stable") == np.lexsort((blocks, slices))).all()


@pytest.mark.parametrize("make", [_histogram, _weighted_histogram])
@pytest.mark.parametrize("seed", range(5))
def test_rows_that_wait_count_as_much_as_those_that_were_counted(make, seed):
    rows, rng = _Rows(seed), np.random.default_rng(seed)
    parts = [make(rows, each) for each in np.array_split(rng.permutation(_ROWS), 6)]
    some = [Histogram.merge([each]) if rng.integers(2) else each for each in parts]
    assert any(each.rows for each in some)
    assert any(each.parts for each in some)
    assert _bytes(Histogram.merge(some)) == _bytes(make(rows, np.arange(_ROWS)))


def test_groups_of_one_part_alone_are_merged_with_shared_ones():
    rows = _Rows(8)
    of_slices = [np.flatnonzero(np.isin(rows.slices, ids)) for ids in ([0, 2], [1], [2, 3])]
    parts = [Histogram.merge([_histogram(rows, each)]) for each in of_slices]
    whole = _bytes(_histogram(rows, np.concatenate(of_slices)))
    assert _bytes(Histogram.merge(parts)) == whole
    assert _bytes(Histogram.merge(parts[::-1])) == whole


@pytest.mark.parametrize("make", [_histogram, _weighted_histogram])
@pytest.mark.parametrize("most", [1, 7])
def test_cells_are_merged_in_parts(monkeypatch, make, most):
    from transforms.metrics import cell_merging

    rows = _Rows(7)
    rows.scores = np.round(rows.scores, 2)
    rows.weights[:60] *= 2.0**18
    parts = [Histogram.merge([make(rows, each)]) for each in np.array_split(np.arange(_ROWS), 3)]
    whole = _bytes(type(parts[0]).merge(parts))
    monkeypatch.setattr(cell_merging, "_MAX_MERGED", most)
    assert _bytes(type(parts[0]).merge(parts)) == whole
    heavy = [make(rows, np.zeros(300, dtype=int)), *parts]
    assert _bytes(type(parts[0]).merge(heavy)) == _bytes(type(parts[0]).merge(heavy[::-1]))


def test_a_number_of_very_many_rows_is_counted():
    numbers = np.full(70_000, 0.25)
    found = _one_distribution(np.r_[numbers, 0.5], 10)
    assert found.distribution(0, 0).weights.tolist() == [[[70_000, 1], [0, 0]]]
    twice = Histogram.merge([found, _one_distribution([0.75], 10), found])
    assert twice.distribution(0, 0).weights.tolist() == [[[140_000, 2, 1], [0, 0, 0]]]

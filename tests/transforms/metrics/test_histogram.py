"""Histograms against one that looks at each row by itself."""

from collections import Counter

import numpy as np
import pytest

from transforms.metrics import NO_SLICE, cell_keys, histogram_rows
from transforms.metrics.float_bins import Scale, to_bins, to_ordered_bits
from transforms.metrics.histogram import Histogram
from transforms.metrics.histogram_options import HistogramOptions
from transforms.metrics.slice_columns import slice_columns

_NUM_BLOCKS = 4


def _hierarchy(source, rows):
    """Returns slices of all rows, 5 countries, 3 devices and their cross."""
    country, device = source.integers(0, 5, rows), source.integers(0, 3, rows)
    cross = 9 + 3 * country + device
    return np.stack([np.zeros(rows, dtype=np.int64), 1 + country, 6 + device, cross]).T


def _with_gaps(source, rows):
    slice_ids = _hierarchy(source, rows)
    slice_ids[source.random(slice_ids.shape) < 0.2] = NO_SLICE
    return slice_ids


def _unrelated(source, rows):
    columns = [source.integers(low, high, rows) for low, high in ((1, 4), (4, 30), (30, 70))]
    return np.stack([np.zeros(rows, dtype=np.int64), *columns]).T


def _with_overall_among_others(source, rows):
    return np.stack([source.integers(0, 3, rows), source.integers(3, 9, rows)]).T


def _one_country_a_batch(source, rows):
    """Returns columns of which one follows from another, but not in each batch from the same."""
    slice_ids = _hierarchy(source, rows)
    slice_ids[:, 1] = 1 + np.arange(rows) * 5 // rows
    slice_ids[:, 3] = 9 + 3 * (slice_ids[:, 1] - 1) + slice_ids[:, 2] - 6
    return slice_ids


def _few_numbers(source, rows):
    return source.integers(0, 12, (2, rows)) / 16


def _many_numbers(source, rows):
    return source.random((2, rows))


def _few_in_some_slices(source, rows):
    numbers = source.random((2, rows))
    numbers[:, : rows // 2] = 0.25
    return numbers


def _counted(options, slice_ids, numbers, places, weights):
    """Returns the weight of each slice, channel, number or bin, and place."""
    found = Counter()
    for slice_id in np.unique(slice_ids[slice_ids != NO_SLICE]).tolist():
        rows = (slice_ids == slice_id).any(axis=1)
        for channel, of_channel in enumerate(to_ordered_bits(numbers)):
            ordered = of_channel[rows]
            is_binned = np.unique(ordered).size > options.max_distinct
            if is_binned:
                ordered = to_bins(ordered, options.scale, options.mantissa_bits(slice_id))
            for number, place, weight in zip(ordered, places[rows], weights[rows], strict=True):
                found[slice_id, channel, is_binned, int(number), int(place)] += float(weight)
    return dict(found)


def _weights(row):
    words = [row[name] for name in row if name.startswith("weights.")]
    return [
        sum(word / 2**44 * 2.0 ** (32 * i) for i, word in enumerate(of_cell))
        for of_cell in zip(*words, strict=True)
    ]


def _held(histogram):
    """Returns the same of a histogram."""
    found = {}
    for row in histogram.to_table().to_pylist():
        amounts = row["rows"] if "rows" in row else _weights(row)
        for number, place, amount in zip(row["numbers"], row["places"], amounts, strict=True):
            found[row["slice"], row["channel"], row["is_binned"], number, place] = amount
    return found


def _check(slice_ids, numbers, labels, blocks, weights, options):
    """Compares the histograms of rows, in one batch and in several, with the rows themselves."""
    rows = len(slice_ids)
    by_row = np.ones(rows) if weights is None else weights
    expected = _counted(options, slice_ids, numbers, labels * options.num_blocks + blocks, by_row)
    for cuts in ([], [rows // 5, rows // 2]):
        parts = [
            Histogram.of_rows(
                options,
                slice_columns(slice_ids[some]),
                numbers=to_ordered_bits(numbers[:, some]),
                labels=labels[None, some],
                blocks=blocks[some],
                weights=None if weights is None else weights[some],
            )
            for some in np.split(np.arange(rows), cuts)
        ]
        assert _held(Histogram.merge(parts)) == expected
        counted = [Histogram.merge([each]) for each in parts]
        assert _held(Histogram.merge(counted)) == expected


@pytest.mark.parametrize(
    "slices", [_hierarchy, _with_gaps, _unrelated, _with_overall_among_others, _one_country_a_batch]
)
@pytest.mark.parametrize("make_numbers", [_few_numbers, _many_numbers, _few_in_some_slices])
@pytest.mark.parametrize("slice_bits", [1, 4])
@pytest.mark.parametrize(
    ("rows", "max_distinct"), [(6000, 20), (6000, 300), (90, 8), (6000, 1 << 32)]
)
@pytest.mark.parametrize("largest_weight", [None, 1.0, 2.0**20])
def test_each_row_is_counted_in_its_slices(
    slices, make_numbers, slice_bits, rows, max_distinct, largest_weight
):
    source = np.random.default_rng(0)
    slice_ids, numbers = slices(source, rows), make_numbers(source, rows)
    labels, blocks = source.integers(0, 2, rows), source.integers(0, _NUM_BLOCKS, rows)
    weights = None
    if largest_weight is not None:
        weights = source.integers(1, 9, rows) / 8 * largest_weight
    options = HistogramOptions(
        scale=Scale.PROBABILITY,
        num_channels=2,
        num_blocks=_NUM_BLOCKS,
        is_weighted=weights is not None,
        max_distinct=max_distinct,
        overall_mantissa_bits=4,
        slice_mantissa_bits=slice_bits,
    )
    _check(slice_ids, numbers, labels, blocks, weights, options)


@pytest.mark.parametrize(
    ("num_blocks", "used_blocks", "has_labels"), [(1, 1, False), (1, 1, True), (32, 2, False)]
)
@pytest.mark.parametrize("max_distinct", [50, 1 << 32])
@pytest.mark.parametrize("slices", [_hierarchy, _with_gaps])
def test_places_that_do_not_occur_take_no_room(
    monkeypatch, num_blocks, used_blocks, has_labels, max_distinct, slices
):
    monkeypatch.setattr(histogram_rows, "_CHUNK_ROWS", 7)
    monkeypatch.setattr(cell_keys, "_CHUNK_KEYS", 7)
    source, rows = np.random.default_rng(0), 1500
    options = HistogramOptions(
        scale=Scale.REAL, num_channels=2, num_blocks=num_blocks, max_distinct=max_distinct
    )
    labels = source.integers(0, 2, rows) * has_labels
    blocks = source.integers(0, used_blocks, rows)
    numbers = source.normal(size=(2, rows))
    _check(slices(source, rows), numbers, labels, blocks, None, options)


@pytest.mark.parametrize("make_slices", [_hierarchy, _unrelated])
def test_slices_are_known_by_any_numbers(make_slices):
    source, rows = np.random.default_rng(0), 3000
    slice_ids = make_slices(source, rows)
    slice_ids[:, 1:] += 5_000_000
    options = HistogramOptions(
        scale=Scale.PROBABILITY, num_channels=2, num_blocks=_NUM_BLOCKS, max_distinct=40
    )
    labels, blocks = source.integers(0, 2, rows), source.integers(0, _NUM_BLOCKS, rows)
    _check(slice_ids, _many_numbers(source, rows), labels, blocks, None, options)

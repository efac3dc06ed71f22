import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.robustness.plans import piece
from transforms.input_batch import InputBatch, only_rows
from transforms.rebatch import rebatch_cheaply, rebatch_exactly
from transforms.unit_cutting import UnitBounds, cut_units, limit_rows


@st.composite
def _files(draw):
    """Returns the row groups of a few files in reading order, rows numbered within each file."""
    pieces = []
    for file_index in range(draw(st.integers(1, 5))):
        first_row = 0
        for group in range(draw(st.integers(1, 6))):
            num_rows = draw(st.integers(1, 50))
            pieces.append(piece(file_index, group, num_rows, draw(st.integers(1, 500)), first_row))
            first_row += num_rows
    return pieces


_bounds = st.builds(UnitBounds, max_bytes=st.integers(1, 1500), max_rows=st.integers(1, 150))


def _groups(ranges):
    return [
        (each.file_index, group)
        for each in ranges
        for group in range(each.first_group, each.end_group)
    ]


def _rows(ranges):
    return [(each.file_index, each.first_row + i) for each in ranges for i in range(each.num_rows)]


class TestCutUnits:
    @given(_files(), _bounds)
    def test_every_piece_once_in_order(self, pieces, bounds):
        """Units cover the input without gap or overlap, and count up from 0."""
        units = cut_units(pieces, bounds)
        ranges = [each for unit in units for each in unit.ranges]
        assert [unit.index for unit in units] == list(range(len(units)))
        assert _groups(ranges) == _groups(pieces)
        assert _rows(ranges) == _rows(pieces)
        assert sum(unit.size_bytes for unit in units) == sum(each.size_bytes for each in pieces)

    @given(_files(), _bounds)
    def test_bounds_are_kept(self, pieces, bounds):
        """Only a unit of a single piece may be larger than the bounds."""
        for unit in cut_units(pieces, bounds):
            if len(_groups(unit.ranges)) > 1:
                assert unit.size_bytes <= bounds.max_bytes
                assert unit.num_rows <= bounds.max_rows

    @given(_files(), _bounds)
    def test_neighbours_would_not_fit_together(self, pieces, bounds):
        """No more units than needed: the first piece of the next one would have been too much."""
        units = cut_units(pieces, bounds)
        starts = np.cumsum([0, *[len(_groups(unit.ranges)) for unit in units]])
        for unit, start in zip(units[:-1], starts[1:], strict=False):
            following = pieces[start]
            assert (
                unit.size_bytes + following.size_bytes > bounds.max_bytes
                or unit.num_rows + following.num_rows > bounds.max_rows
            )

    @given(_files(), _bounds)
    def test_neighbouring_row_groups_are_one_range(self, pieces, bounds):
        """A file is opened once per unit that reads it."""
        for unit in cut_units(pieces, bounds):
            files = [each.file_index for each in unit.ranges]
            assert len(files) == len(set(files))

    def test_pieces_of_unknown_length(self):
        """TFRecord files, whose rows are not known, are bounded by bytes alone."""
        pieces = [piece(index, 0, -1, 40) for index in range(5)]
        units = cut_units(pieces, UnitBounds(max_bytes=100, max_rows=1))
        assert [len(unit.ranges) for unit in units] == [2, 2, 1]
        assert all(unit.num_rows is None for unit in units)

    def test_nothing(self):
        """No input, no units."""
        assert cut_units([], UnitBounds()) == ()


class TestLimitRows:
    @given(_files(), st.integers(1, 400))
    def test_the_first_rows_are_kept(self, pieces, limit):
        """The limited input is a prefix of the whole, exactly as long as asked or all there is."""
        kept = list(limit_rows(pieces, limit))
        assert _rows(kept) == _rows(pieces)[:limit]
        assert all(each.num_rows > 0 for each in kept)
        assert sum(each.size_bytes for each in kept) <= sum(each.size_bytes for each in pieces)

    @given(_files())
    def test_none_keeps_all(self, pieces):
        """Without a limit nothing changes."""
        assert list(limit_rows(pieces, None)) == pieces


class TestRebatch:
    @given(st.lists(st.integers(0, 40), max_size=12), st.integers(1, 30))
    def test_same_rows_in_exact_sizes(self, sizes, batch_rows):
        """All rows in order, every batch full but the last, none empty."""
        found = list(rebatch_exactly(_cut(sizes), batch_rows))
        total = sum(sizes)
        full, rest = divmod(total, batch_rows)
        assert [each.num_rows for each in found] == [batch_rows] * full + [rest] * (rest > 0)
        ids = [value for each in found for value in each.columns["id"].to_pylist()]
        assert ids == list(range(total))

    @given(st.lists(st.integers(1, 40), max_size=8), st.integers(1, 30))
    def test_records_stay_beside_their_rows(self, sizes, batch_rows):
        """Serialized records are cut at the same offsets as the columns."""
        for each in rebatch_exactly(_cut(sizes, with_records=True), batch_rows):
            records = [int(record) for record in each.records]
            assert records == each.columns["id"].to_pylist()

    @given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.integers(1, 30), st.data())
    def test_offsets_do_not_depend_on_how_the_rows_arrive(self, sizes, batch_rows, data):
        """However files and row groups are laid out, batches of a unit are cut at the same rows."""
        total = sum(sizes)
        cuts = sorted(data.draw(st.lists(st.integers(0, total), max_size=6)))
        others = np.diff([0, *cuts, total]).tolist()
        first = [
            each.columns["id"].to_pylist() for each in rebatch_exactly(_cut(sizes), batch_rows)
        ]
        second = [
            each.columns["id"].to_pylist() for each in rebatch_exactly(_cut(others), batch_rows)
        ]
        assert first == second

    def test_reads_no_further_than_needed(self):
        """A batch is handed on as soon as its rows are there."""
        seen = []

        def source():
            for batch in _cut([3, 3, 3]):
                seen.append(batch)
                yield batch

        assert next(rebatch_exactly(source(), 5)).num_rows == 5
        assert len(seen) == 2


class TestRebatchCheaply:
    @given(st.lists(st.integers(0, 40), max_size=90), st.integers(1, 30), st.integers(1, 400))
    def test_same_rows_within_bounds(self, sizes, batch_rows, max_bytes):
        """All rows in order, no batch empty or above a bound, but for a single row of many bytes."""
        found = list(rebatch_cheaply(_cut(sizes), lambda: batch_rows, max_bytes))
        ids = [value for each in found for value in each.columns["id"].to_pylist()]
        assert ids == list(range(sum(sizes)))
        assert all(0 < each.num_rows <= batch_rows for each in found)
        assert all(each.num_rows == 1 or each.size_bytes <= max_bytes for each in found)

    @given(st.lists(st.integers(1, 40), max_size=20), st.integers(1, 30))
    def test_few_batches(self, sizes, batch_rows):
        """Neighbours are joined where they fit: no two in a row are less than half full."""
        rows = [each.num_rows for each in rebatch_cheaply(_cut(sizes), lambda: batch_rows, 1 << 20)]
        assert all(sum(pair) >= batch_rows // 2 for pair in itertools.pairwise(rows))

    @pytest.mark.parametrize(
        ("sizes", "expected", "num_copied"),
        [
            ([32, 32, 4, 32, 32, 32], [32, 32, 20, 16, 32, 32], 1),
            ([32, 20, 32, 32], [32, 20, 32, 32], 0),
            ([10, 10, 10, 32], [30, 32], 1),
            ([100], [32, 32, 32, 4], 0),
        ],
    )
    def test_full_batches_are_not_copied(self, sizes, expected, num_copied):
        """Behind a short batch the next ones are passed on as they are."""
        source = list(_cut(sizes))
        memory = [(each.columns["id"].buffers()[1].address, each.columns.nbytes) for each in source]
        found = list(rebatch_cheaply(source, lambda: 32, 1 << 20))
        assert [each.num_rows for each in found] == expected
        addresses = [each.columns["id"].buffers()[1].address for each in found]
        starts = [start for start, _ in memory]
        assert sum(each not in starts for each in addresses) == num_copied

    def test_large_rows_make_small_batches(self):
        """Bytes bound a batch of serialized records as well as rows do."""
        records = np.array([b"x" * 100] * 64, object)
        batch = InputBatch(columns=only_rows(64), records=records, records_bytes=6400)
        found = list(rebatch_cheaply([batch, batch], lambda: 64, 1000))
        assert [each.num_rows for each in found] == [8] * 16
        assert {each.records_bytes for each in found} == {800}


def _cut(sizes, *, with_records=False):
    start = 0
    for size in sizes:
        ids = np.arange(start, start + size)
        records = np.array([str(each).encode() for each in ids], object) if with_records else None
        yield InputBatch(columns=pa.record_batch({"id": pa.array(ids)}), records=records)
        start += size

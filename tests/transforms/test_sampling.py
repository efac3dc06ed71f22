import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servable_core.errors import InvalidArgumentError
from transforms.bad_records import BadRecord, Stage
from transforms.input_batch import InputBatch, Origin
from transforms.row_selection import select_rows
from transforms.sampling import check_fraction, sample_mask, sampled

_MILLION = 1_000_000
_FRACTIONS = st.floats(1e-4, 1)


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.5, 0.999])
@pytest.mark.parametrize("path", ["/data/a.parquet", "gs://bucket/ü.csv"])
def test_share_of_a_million_rows(fraction, path):
    """Of many rows about the fraction is taken, within four standard deviations of chance."""
    taken = sample_mask(path, 0, _MILLION, fraction).sum()
    assert taken == pytest.approx(
        fraction * _MILLION, abs=4 * np.sqrt(_MILLION * fraction * (1 - fraction))
    )


def test_share_of_many_files():
    """Files do not share their choice: of the first rows of many files, about the fraction is taken."""
    taken = sum(sample_mask(f"/data/part-{index:05d}", 0, 10, 0.1).sum() for index in range(5000))
    assert taken == pytest.approx(5000, abs=4 * np.sqrt(50_000 * 0.1 * 0.9))


def test_rows_are_taken_evenly():
    """No stretch, and no residue, of row numbers is taken more often than others."""
    mask = sample_mask("/data/a", 0, _MILLION, 0.1)
    deviation = 5 * np.sqrt(1000 * 0.1 * 0.9)
    assert mask.reshape(1000, 1000).sum(axis=1) == pytest.approx(100, abs=deviation)
    assert mask.reshape(1000, 1000).sum(axis=0) == pytest.approx(100, abs=deviation)


@given(st.text(max_size=10), _FRACTIONS, st.integers(0, 2**40), st.integers(0, 9), st.data())
def test_borders_do_not_matter(path, fraction, first_row, seed, data):
    """A row is taken or not, whatever batch it is read in."""
    num_rows = data.draw(st.integers(0, 300))
    cut = data.draw(st.integers(0, num_rows))
    parts = [
        sample_mask(path, first_row, cut, fraction, seed),
        sample_mask(path, first_row + cut, num_rows - cut, fraction, seed),
    ]
    whole = sample_mask(path, first_row, num_rows, fraction, seed)
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@given(_FRACTIONS, _FRACTIONS)
def test_larger_samples_hold_smaller_ones(one, other):
    """With a larger fraction rows are added, and none is lost."""
    small, large = (sample_mask("/a", 0, 1000, each) for each in sorted((one, other)))
    assert not (small & ~large).any()


def test_known_rows():
    """The sample is the same in every process and release: stored samples stay comparable."""
    rows = np.flatnonzero(sample_mask("/data/a.parquet", 0, 1000, 0.01))
    assert rows.tolist() == [213, 263, 444, 855, 934, 996]


def test_seed():
    """Another seed, or another file, gives another sample, unrelated to the first."""
    first = sample_mask("/a", 0, 100_000, 0.1)
    for other in (sample_mask("/a", 0, 100_000, 0.1, seed=1), sample_mask("/b", 0, 100_000, 0.1)):
        assert (first & other).sum() == pytest.approx(1000, abs=150)


def test_all():
    """A fraction of 1 is everything."""
    assert sample_mask("/a", 5, 1000, 1.0).all()


@pytest.mark.parametrize("fraction", [0, -0.1, 1.01, float("nan"), float("inf")])
def test_bad_fractions(fraction):
    """A fraction is above 0 and at most 1."""
    with pytest.raises(InvalidArgumentError, match="--sample must be a fraction above 0"):
        check_fraction(fraction)


def _batch(origins, **kwargs):
    rows = [
        row for each in origins for row in range(each.first_row, each.first_row + each.num_rows)
    ]
    return InputBatch(columns=pa.record_batch({"row": rows}), origins=tuple(origins), **kwargs)


def _origin(path, first_row, num_rows):
    return Origin(path=path, first_row=first_row, num_rows=num_rows)


class TestBatches:
    def test_rows_and_origins_agree(self):
        """The rows that are left know their files and numbers."""
        batch = _batch([_origin("/a", 100, 400), _origin("/b", 0, 400)])
        half = sampled(batch, 0.5, seed=3)
        told = [
            (each.path, row)
            for each in half.origins
            for row in range(each.first_row, each.first_row + each.num_rows)
        ]
        expected = [
            (path, first + index)
            for path, first in (("/a", 100), ("/b", 0))
            for index in np.flatnonzero(sample_mask(path, first, 400, 0.5, 3)).tolist()
        ]
        assert told == expected
        assert half.columns["row"].to_pylist() == [row for _, row in expected]

    def test_records(self):
        """Serialized records are chosen like their rows."""
        records = np.array([b"%d" % row for row in range(100)], object)
        batch = _batch([_origin("/a", 0, 100)], records=records, records_bytes=1000)
        tenth = sampled(batch, 0.1)
        assert [int(each) for each in tenth.records] == tenth.columns["row"].to_pylist()
        assert 0 < tenth.records_bytes < 1000

    def test_bad_records(self):
        """Bad records are in the sample, or not, as any row; those without a number always are."""
        bad = tuple(
            BadRecord(
                source_file="/a",
                source_row=row,
                byte_offset=None,
                stage=Stage.READ,
                code="",
                message="",
            )
            for row in (None, *range(1000))
        )
        kept = sampled(_batch([_origin("/a", 1000, 2)], bad_records=bad), 0.1).bad_records
        rows = np.flatnonzero(sample_mask("/a", 0, 1000, 0.1)).tolist()
        assert [each.source_row for each in kept] == [None, *rows]

    def test_nothing_left(self):
        """A batch of which no row is taken is empty, and knows it."""
        batch = _batch([_origin("/a", 0, 10)])
        empty = select_rows(batch, np.zeros(10, np.bool_))
        assert (empty.num_rows, empty.origins) == (0, ())

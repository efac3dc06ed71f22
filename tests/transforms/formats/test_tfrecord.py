import gzip
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from servable_core.errors import DataLossError, InvalidArgumentError
from tests.datasets import to_examples, write_tfrecord
from transforms.formats.tfrecord import (
    Feature,
    count_records,
    describe,
    merge_features,
    read_batches,
    read_head,
)

_COLUMNS = {
    "id": list(range(10)),
    "x": [[row, row + 0.5] for row in range(10)],
    "s": [f"row {row}".encode() for row in range(10)],
}
_ID = Feature(name="id", value_type=pa.int64(), length=None)
_X = Feature(name="x", value_type=pa.float32(), length=2)
_S = Feature(name="s", value_type=pa.binary(), length=None)


@pytest.fixture(name="path", params=["", "GZIP"])
def _path(request, tmp_path):
    """Ten Examples, plain and compressed; the name tells nothing."""
    return write_tfrecord(_COLUMNS, tmp_path / "records", compression=request.param)


@pytest.fixture(name="write")
def _write(tmp_path):
    """Writes bytes, and returns the path."""

    def write(content):
        (tmp_path / "written").write_bytes(content)
        return str(tmp_path / "written")

    return write


def _frames(path):
    content = Path(path).read_bytes()
    return gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content


class TestDescribe:
    def test_types_and_lengths(self, path):
        """One value is a scalar, several are a list, and each kind has its type."""
        assert describe(path) == [_ID, _S, _X]

    def test_fields(self):
        """A feature becomes a column of its type and length."""
        assert _ID.field == pa.field("id", pa.int64())
        assert _X.field == pa.field("x", pa.list_(pa.float32(), 2))

    def test_lengths_that_differ(self, write, tmp_path):
        """A length that differs among the first records is told so, not guessed."""
        path = str(tmp_path / "ragged")
        parts = [_frames(write_tfrecord({"v": [[1.0] * size]}, path)) for size in (1, 2)]
        (feature,) = describe(write(b"".join(parts)))
        assert feature.length == -1

    def test_only_the_first_records(self, write, path):
        """What comes later does not matter for the description."""
        content = _frames(path)
        assert describe(write(content[:-3]), num_records=3) == [_ID, _S, _X]

    def test_features_of_some_records(self, write, tmp_path):
        """A feature that only some records have is described by those."""
        path = str(tmp_path / "part")
        parts = [_frames(write_tfrecord({name: [1]}, path)) for name in ("a", "b")]
        assert [each.name for each in describe(write(b"".join(parts)))] == ["a", "b"]


class TestMerge:
    def test_lengths(self):
        """Different lengths in two files are lengths that vary."""
        other = Feature(name="x", value_type=pa.float32(), length=3)
        merged = merge_features([[_X, _ID], [other]])
        assert list(merged) == ["id", "x"]
        assert merged["x"].length == -1
        assert merged["id"] == _ID

    def test_types(self):
        """Different types are an error."""
        other = Feature(name="x", value_type=pa.int64(), length=2)
        with pytest.raises(InvalidArgumentError, match="'x' is float in one file and int64 in"):
            merge_features([[_X], [other]])


class TestCountAndHead:
    @pytest.mark.parametrize(("limit", "expected"), [(100, 10), (10, 10), (3, 3), (0, 0)])
    def test_count(self, path, limit, expected):
        """Records are counted up to the limit."""
        assert count_records(path, limit) == expected

    def test_head(self, path):
        """The first records come as they were written."""
        assert read_head(path, 2) == to_examples(_COLUMNS)[:2]
        assert len(read_head(path, 100)) == 10

    def test_nothing(self, write):
        """A file without records is empty, not corrupt."""
        for content in (b"", gzip.compress(b"")):
            path = write(content)
            assert count_records(path, 5) == 0
            assert read_head(path, 5) == []
            assert describe(path) == []


class TestReadBatches:
    @pytest.mark.parametrize("batch_rows", [1, 4, 10, 100])
    def test_features_become_columns(self, path, batch_rows):
        """All records come in order, in batches, with their features as columns."""
        batches = list(read_batches(path, [_S, _ID, _X], batch_rows, with_records=False))
        assert [batch.num_rows for batch in batches[:-1]] == [batch_rows] * (len(batches) - 1)
        table = pa.Table.from_batches([batch.columns for batch in batches])
        assert table.schema.names == ["s", "id", "x"]
        assert table["id"].to_pylist() == _COLUMNS["id"]
        assert table["s"].to_pylist() == _COLUMNS["s"]
        assert table["x"].to_pylist() == _COLUMNS["x"]
        assert all(batch.records is None for batch in batches)

    def test_records(self, path):
        """Serialized Examples are kept beside the columns when asked for, and rows counted."""
        batches = list(read_batches(path, [], 4, with_records=True))
        assert [batch.num_rows for batch in batches] == [4, 4, 2]
        records = np.concatenate([batch.records.numpy() for batch in batches])
        assert records.tolist() == to_examples(_COLUMNS)

    @pytest.mark.parametrize("length", [None, 3])
    def test_missing_feature(self, path, length):
        """A feature that no record has is all null."""
        feature = Feature(name="absent", value_type=pa.float32(), length=length)
        batches = read_batches(path, [feature, _ID], 4, with_records=False)
        table = pa.Table.from_batches([each.columns for each in batches])
        assert table["absent"].to_pylist() == [None] * 10
        assert table["id"].to_pylist() == _COLUMNS["id"]

    @pytest.mark.parametrize("length", [None, 3])
    def test_other_length(self, path, length):
        """A record with another number of values than was planned is an error that names it."""
        feature = Feature(name="x", value_type=pa.float32(), length=length)
        expected = f"{path}: record 0, at byte 0: feature 'x' has 2 values, where the first records of the input have {length or 1}"
        with pytest.raises(InvalidArgumentError, match=re.escape(expected)):
            list(read_batches(path, [feature], 4, with_records=False))

    def test_varying_length(self, path):
        """Features of varying length become lists."""
        feature = Feature(name="x", value_type=pa.float32(), length=-1)
        (batch,) = read_batches(path, [feature], 10, with_records=False)
        assert batch.columns.schema.field("x").type == pa.list_(pa.float32())
        assert batch.columns["x"].to_pylist() == _COLUMNS["x"]


class TestCorruption:
    @pytest.fixture(name="content")
    def _content(self, tmp_path):
        return write_tfrecord(_COLUMNS, tmp_path / "good") and _frames(tmp_path / "good")

    def _read(self, path):
        return list(read_batches(path, [_ID], 3, with_records=False))

    def test_record_in_the_middle(self, write, content):
        """A wrong checksum in the middle ends the reading as data loss, after what is good."""
        damaged = bytearray(content)
        damaged[len(damaged) // 2] ^= 1
        path = write(bytes(damaged))
        batches = read_batches(path, [_ID], 1, with_records=False)
        assert next(batches).columns["id"].to_pylist() == [0]
        with pytest.raises(DataLossError, match=path):
            list(batches)
        assert len(describe(path, num_records=2)) == 3

    @pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
    def test_truncated_anywhere(self, write, content, compress):
        """A file that was cut in a record, or in the header of one, is data loss."""
        frame = len(content) // 10
        for cut in range(5 * frame + 1, 6 * frame):
            path = write(compress(content[:cut]))
            with pytest.raises(DataLossError, match="is not TFRecord, or is corrupt"):
                self._read(path)

    def test_truncated_gzip(self, write, content):
        """So is a compressed file that was cut, wherever its content happens to end."""
        compressed = gzip.compress(content)
        for cut in range(2, len(compressed), 3):
            path = write(compressed[:cut])
            with pytest.raises(DataLossError, match="is not TFRecord, or is corrupt"):
                self._read(path)

    def test_gzip_members(self, write, content):
        """Compressed files that were joined are one file."""
        joined = gzip.compress(content) + gzip.compress(content)
        assert sum(batch.num_rows for batch in self._read(write(joined))) == 20
        with pytest.raises(DataLossError, match="is not TFRecord, or is corrupt"):
            self._read(write(joined + gzip.compress(content)[:12]))

    def test_an_early_end_of_reading_is_fine(self, write, content):
        """Who wants the first rows only does not read on to what is missing."""
        batches = read_batches(write(content[:-3]), [_ID], 1, with_records=False)
        assert next(batches).num_rows == 1
        batches.close()

    def test_counting_a_truncated_file(self, write, content):
        """A header that was cut is data loss for who counts, too."""
        frame = len(content) // 10
        with pytest.raises(DataLossError, match="it ends within a header at byte"):
            count_records(write(content[: 5 * frame + 7]), 100)

    @pytest.mark.parametrize("position", [0, 8, 12, 40])
    def test_first_record(self, write, content, position):
        """Length, its checksum and the record are all verified."""
        damaged = bytearray(content)
        damaged[position] ^= 1
        with pytest.raises(DataLossError, match="at byte 0"):
            read_head(write(bytes(damaged)), 1)

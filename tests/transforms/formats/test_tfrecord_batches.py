"""Blocks to batches: sizes, places, and records that do not parse."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servable_core.errors import DataLossError, InvalidArgumentError
from tests.datasets import to_examples
from tests.record_frames import frame
from transforms.formats.tfrecord import Feature, read_batches
from transforms.formats.tfrecord_blocks import RecordBlock, gather
from transforms.formats.tfrecord_options import TFRecordOptions
from transforms.input_batch import Origin

_ID = Feature(name="id", value_type=pa.int64(), length=None)
_DEAD_LETTER = TFRecordOptions(on_error="dead_letter")
_UNPARSABLE = b"\xff\xfe"


def _block(first_row, num_rows, num_bytes=10):
    origins = (Origin(path="f", first_row=first_row, num_rows=num_rows),) if num_rows else ()
    return RecordBlock(
        records=[bytes(num_bytes)] * num_rows,
        offsets=np.arange(first_row, first_row + num_rows) * (num_bytes + 16),
        input_bytes=num_rows,
        origins=origins,
    )


def _rows(block):
    return [
        row
        for each in block.origins
        for row in range(each.first_row, each.first_row + each.num_rows)
    ]


class TestGather:
    @given(sizes=st.lists(st.integers(0, 40), max_size=12), wanted=st.integers(1, 50))
    def test_blocks_of_the_rows_wanted(self, sizes, wanted):
        """All rows come in order and in full blocks but the last, each with its own offset."""
        starts = [sum(sizes[:index]) for index in range(len(sizes))]
        blocks = [_block(start, size) for start, size in zip(starts, sizes, strict=True)]
        gathered = list(gather(blocks, lambda: wanted))
        assert [each.num_rows for each in gathered[:-1]] == [wanted] * (len(gathered) - 1)
        assert [row for each in gathered for row in _rows(each)] == list(range(sum(sizes)))
        for each in gathered:
            assert each.offsets.tolist() == [row * 26 for row in _rows(each)]

    def test_sizes_that_change(self):
        """The rows wanted may change from block to block."""
        sizes = iter([2, 2, 100, 100])
        gathered = gather([_block(row * 4, 4) for row in range(4)], lambda: next(sizes))
        assert [each.num_rows for each in gathered] == [2, 2, 2, 2, 8]

    def test_large_records(self):
        """Large records are not kept until there are as many as wanted."""
        blocks = [_block(row, 1, num_bytes=5 << 20) for row in range(5)]
        assert [each.num_rows for each in gather(blocks, lambda: 1000)] == [2, 2, 1]


class TestBadRecords:
    @pytest.fixture(name="write")
    def _write(self, tmp_path):
        def write(records, damaged=()):
            frames = [bytearray(frame(each)) for each in records]
            for index in damaged:
                frames[index][-1] ^= 1
            (tmp_path / "a").write_bytes(b"".join(frames))
            return str(tmp_path / "a")

        return write

    def _read(self, path, options=_DEAD_LETTER, batch_rows=7):
        return list(read_batches(path, [_ID], batch_rows, with_records=True, options=options))

    @settings(max_examples=40, deadline=None)
    @given(
        unparsable=st.sets(st.integers(0, 29)),
        damaged=st.sets(st.integers(0, 29)),
        batch_rows=st.integers(1, 40),
    )
    def test_all_others_are_rows(self, tmp_path_factory, unparsable, damaged, batch_rows):
        """Whatever records fail, and how: each is reported once, and all others are rows."""
        records = to_examples({"id": range(30)})
        for index in unparsable:
            records[index] = _UNPARSABLE
        frames = [bytearray(frame(each)) for each in records]
        for index in damaged:
            frames[index][-1] ^= 1
        path = tmp_path_factory.mktemp("f") / "a"
        path.write_bytes(b"".join(frames))
        batches = self._read(str(path), batch_rows=batch_rows)
        bad = [each for batch in batches for each in batch.bad_records]
        by_stage = {
            stage: {each.source_row for each in bad if each.stage.value == stage}
            for stage in ("read", "parse")
        }
        assert by_stage == {"read": damaged, "parse": unparsable - damaged}
        assert len(bad) == len(damaged | unparsable)
        starts = np.cumsum([0, *(len(each) for each in frames)])
        for each in bad:
            assert each.byte_offset == starts[each.source_row]
            assert each.record == records[each.source_row]
            assert each.source_file == str(path)
        good = [row for row in range(30) if row not in damaged | unparsable]
        assert [row for batch in batches for row in batch.columns["id"].to_pylist()] == good
        assert [row for batch in batches for row in _rows(batch)] == good
        kept = [record for batch in batches for record in batch.records.numpy().tolist()]
        assert kept == [records[row] for row in good]

    def test_very_many(self, write):
        """They come some at a time, so that a job can stop long before the end of the file."""
        num_rows = 5000
        records = to_examples({"id": range(num_rows)})
        path = write(records, damaged=[*range(10, 4000), *range(4001, num_rows)])
        batches = self._read(path, batch_rows=64)
        sizes = [len(each.bad_records) for each in batches]
        assert max(sizes) < 2 * 1024
        assert sum(sizes) == num_rows - 11
        bad = [each.source_row for batch in batches for each in batch.bad_records]
        assert bad == [*range(10, 4000), *range(4001, num_rows)]
        assert [row for batch in batches for row in _rows(batch)] == [*range(10), 4000]

    def test_fail_names_the_record(self, write):
        """Otherwise the first one is an error, with its place."""
        records = to_examples({"id": range(30)})
        records[11] = records[20] = _UNPARSABLE
        path = write(records)
        offset = sum(len(each) + 16 for each in records[:11])
        expected = f"^{path}: record 11, at byte {offset}: "
        with pytest.raises(InvalidArgumentError, match=expected):
            self._read(path, TFRecordOptions())
        with pytest.raises(DataLossError, match=f"wrong checksum of the record at byte {offset}"):
            self._read(write(records, damaged=[11]), TFRecordOptions())

    def test_ignored_checksums(self, write):
        """Records with wrong checksums are rows where nobody asks for them."""
        path = write(to_examples({"id": range(10)}), damaged=[3, 4])
        batches = self._read(path, TFRecordOptions(crc="ignore"))
        assert [row for batch in batches for row in batch.columns["id"].to_pylist()] == [*range(10)]

    def test_options(self):
        """Other words are refused."""
        with pytest.raises(
            InvalidArgumentError, match="crc must be one of check, ignore, got 'no'"
        ):
            TFRecordOptions(crc="no")
        with pytest.raises(InvalidArgumentError, match="on_error must be one of fail, dead_letter"):
            TFRecordOptions(on_error="skip")

"""Big files in parts: by their headers or by an index, whole frames that add up to the file."""

import gzip
import logging
import random
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import memory_file_system as memory
from tests.record_frames import frame
from transforms.formats.tfrecord_blocks import FilePart, read_blocks
from transforms.formats.tfrecord_index import WrongIndexError, find_index, read_index
from transforms.formats.tfrecord_options import TFRecordOptions
from transforms.formats.tfrecord_ranges import cut_file, cut_frames

_DEAD_LETTER = TFRecordOptions(on_error="dead_letter")


def _records(num_records, max_bytes=300, seed=0):
    source = random.Random(seed)
    return [source.randbytes(source.randrange(max_bytes)) for _ in range(num_records)]


def _lines(records):
    """Returns the index of the records, as the `tfrecord` package writes it."""
    lines, start = [], 0
    for each in map(frame, records):
        lines.append(f"{start} {len(each)}\n")
        start += len(each)
    return "".join(lines).encode()


def _read(part, options=_DEAD_LETTER):
    blocks = list(read_blocks(part, options))
    return [each for block in blocks for each in block.records], [
        each for block in blocks for each in block.bad_records
    ]


def _cut(path, content, **bounds):
    limits = {"max_bytes": 1000, "max_rows": 1 << 30} | bounds
    return list(cut_file(path, len(content), **limits))


@pytest.fixture(name="put", params=["local", "remote"])
def _put(request, tmp_path):
    """Stores files in one directory, and returns their paths."""

    def put(content, name="a.tfrecord"):
        if request.param == "remote":
            memory.put(f"mem://bucket/{name}", content)
            return f"mem://bucket/{name}"
        (tmp_path / name).write_bytes(content)
        return str(tmp_path / name)

    yield put
    memory.clear()


class TestCutFrames:
    @given(
        sizes=st.lists(st.integers(1, 20), max_size=30),
        block_size=st.integers(1, 10),
        max_bytes=st.integers(1, 60),
        max_rows=st.integers(1, 8),
        extra=st.integers(0, 3),
    )
    def test_parts_add_up(self, sizes, block_size, max_bytes, max_rows, extra):
        """Parts are neighbours, within bounds unless of one frame, and no larger one would be."""
        ends = np.cumsum(sizes, dtype=np.int64)
        blocks = [ends[start : start + block_size] for start in range(0, len(ends), block_size)]
        size = sum(sizes) + extra
        parts = list(cut_frames("f", blocks, size, max_bytes=max_bytes, max_rows=max_rows))
        bounds = [0, *(part.end_byte for part in parts)]
        assert [part.first_byte for part in parts] == bounds[:-1]
        assert bounds[-1] == size
        starts = [0, *ends.tolist()]
        assert [part.first_row for part in parts] == [starts.index(each) for each in bounds[:-1]]
        known = [part for part in parts if part.num_rows is not None]
        assert len(known) == len(parts) - (1 if extra else 0)
        for part in known:
            end_row = part.first_row + part.num_rows
            assert starts[end_row] == part.end_byte
            assert part.num_rows <= max_rows
            assert part.end_byte - part.first_byte <= max_bytes or part.num_rows == 1
            if part is not parts[-1]:
                is_full = starts[end_row + 1 :][:1] and (
                    starts[end_row + 1] - part.first_byte > max_bytes
                )
                assert part.num_rows == max_rows or is_full or end_row == len(sizes)


class TestByHeaders:
    def test_parts_are_the_file(self, put):
        """All records come, once, in order, and each part knows which they are."""
        records = _records(200)
        content = b"".join(map(frame, records))
        path = put(content)
        parts = _cut(path, content)
        assert len(parts) > 20
        read = []
        for part in parts:
            assert part.first_row == len(read)
            blocks = list(read_blocks(part, TFRecordOptions()))
            assert [each.origins[0].first_row for each in blocks] == [part.first_row]
            read += blocks[0].records
            assert len(read) == part.first_row + part.num_rows
        assert read == records

    def test_max_rows(self, put):
        """Parts have no more rows than a unit may have."""
        content = b"".join(map(frame, _records(95)))
        parts = _cut(put(content), content, max_bytes=1 << 30, max_rows=10)
        assert [part.num_rows for part in parts] == [10] * 9 + [5]

    def test_large_records_are_skipped(self, put):
        """Of large records only the headers are read, once it is seen that they are large."""
        content = b"".join(frame(bytes(1 << 20)) for _ in range(20)) + frame(b"small") * 100
        path = put(content)
        parts = _cut(path, content, max_bytes=5 << 20)
        assert [part.num_rows for part in parts] == [4, 4, 4, 4, 104]
        if path.startswith("mem://"):
            assert memory.bytes_read(path) < 4 << 20

    def test_only_as_far_as_asked(self):
        """Who takes the first part has no more read than is needed for it."""
        content = b"".join(map(frame, _records(1000))) * 200
        memory.put("mem://bucket/a", content)
        part = next(cut_file("mem://bucket/a", len(content), max_bytes=50_000, max_rows=1 << 30))
        assert part.num_rows > 200
        assert memory.bytes_read("mem://bucket/a") < 2 << 20 < len(content)
        memory.clear()

    @pytest.mark.parametrize("compress", [gzip.compress])
    def test_compressed(self, put, compress):
        """Nothing can begin in the middle of a compressed file."""
        content = compress(b"".join(map(frame, _records(200))))
        (part,) = _cut(put(content), content)
        assert (part.first_byte, part.end_byte, part.num_rows) == (0, None, None)

    def test_damage_at_every_byte(self, put):
        """Whatever byte is damaged, the parts are the file, and only what it costs is lost."""
        records = _records(30, max_bytes=40)
        content = b"".join(map(frame, records))
        offsets = np.cumsum([0, *(len(each) + 16 for each in records)])
        for position in range(0, len(content), 3):
            damaged = bytearray(content)
            damaged[position] ^= 0x10
            path = put(bytes(damaged))
            hit = int(np.searchsorted(offsets, position, "right")) - 1
            found = [_read(part) for part in _cut(path, content, max_bytes=200)]
            good = [each for part, _ in found for each in part]
            (bad,) = [each for _, part in found for each in part]
            assert (bad.source_row, bad.byte_offset) == (hit, offsets[hit])
            in_header = position - offsets[hit] < 12
            assert good == records[:hit] + ([] if in_header else records[hit + 1 :])

    def test_a_cut_file(self, put):
        """The last part of a file that was cut off goes to its end, and reading it tells."""
        records = _records(50)
        content = b"".join(map(frame, records))[:-5]
        parts = _cut(put(content), content)
        assert (parts[-1].num_rows, parts[-1].end_byte) == (None, len(content))
        good, (bad,) = _read(parts[-1])
        assert len(good) == 49 - parts[-1].first_row
        assert f"to {len(content)} cannot be read" in bad.message


class TestByIndex:
    def test_of_the_tfrecord_package(self, tmp_path):
        """What tfrecord2idx writes is read. It cannot be imported beside TensorFlow."""
        records = _records(300)
        content = b"".join(map(frame, records))
        path, index = tmp_path / "a.tfrecord", tmp_path / "a.tfrecord.index"
        path.write_bytes(content)
        program = "import sys; from tfrecord.tools.tfrecord2idx import create_index; create_index(*sys.argv[1:])"
        subprocess.run([sys.executable, "-c", program, path, index], check=True, timeout=100)
        assert index.read_bytes() == _lines(records)
        by_index = _cut(str(path), content)
        index.unlink()
        assert by_index == _cut(str(path), content)

    @pytest.mark.parametrize("name", ["a.tfrecord.index", "a.index", "a.tfindex"])
    def test_names(self, put, name):
        """An index lies beside the file, with its name or without the suffix."""
        path = put(b"x")
        assert find_index(path) is None
        assert find_index(path) != put(b"0 1\n", name)
        assert find_index(path).endswith(name)

    def test_instead_of_the_headers(self):
        """With an index, only the first header of each part is read."""
        records = _records(1000)
        content = b"".join(map(frame, records))
        memory.put("mem://bucket/a.tfrecord", content)
        memory.put("mem://bucket/a.tfrecord.index", _lines(records))
        parts = _cut("mem://bucket/a.tfrecord", content, max_bytes=20_000)
        assert sum(part.num_rows for part in parts) == 1000
        assert memory.bytes_read("mem://bucket/a.tfrecord") == 12 * (len(parts) + 1)
        memory.clear()

    @pytest.mark.parametrize(
        "index",
        [
            b"",
            b"not an index\n",
            b"0 1 2\n",
            b"0 99999999999999999999\n",
            _lines(_records(50))[:-4],
            _lines(_records(49)),
            _lines(_records(50, seed=1)),
            _lines(_records(50)).replace(b"0 ", b"1 ", 1),
        ],
    )
    def test_one_that_does_not_fit(self, put, caplog, index):
        """An index of something else is told, and the headers are read."""
        content = b"".join(map(frame, _records(50)))
        path = put(content)
        expected = _cut(path, content)
        name = put(index, "a.tfrecord.index")
        with caplog.at_level(logging.WARNING):
            assert _cut(path, content) == expected
        assert f"{name} is not used: " in caplog.text

    def test_one_of_a_file_of_the_same_size(self, put, caplog):
        """The records of another file begin elsewhere, though they may end at the same byte."""
        sizes = [100, 200] * 20
        content = b"".join(frame(bytes(size)) for size in sizes)
        path = put(content)
        put(_lines([bytes(size) for size in reversed(sizes)]), "a.tfrecord.index")
        with caplog.at_level(logging.WARNING):
            parts = _cut(path, content, max_bytes=600)
        assert "no record begins" in caplog.text
        assert [len(_read(part)[1]) for part in parts] == [0] * len(parts)

    def test_many_lines(self, tmp_path):
        """An index that is longer than one read is one index."""
        sizes = [16 + row % 7 for row in range(200_000)]
        records = [bytes(size - 16) for size in sizes]
        (tmp_path / "i").write_bytes(_lines(records).rstrip(b"\n"))
        ends = list(read_index(str(tmp_path / "i"), sum(sizes)))
        assert len(ends) > 1
        assert (np.concatenate(ends) == np.cumsum(sizes)).all()
        with pytest.raises(WrongIndexError, match=r"ends at byte \d+, the file at 7"):
            list(read_index(str(tmp_path / "i"), 7))


class TestReadBlocks:
    def test_damaged_payloads(self, put):
        """Each is one bad record, with its place and content, and rows behind it keep their numbers."""
        records = _records(20)
        frames = [bytearray(frame(each)) for each in records]
        for index in (0, 7, 8, 19):
            frames[index][-2] ^= 1
        path = put(b"".join(frames))
        part = replace(_cut(path, b"".join(frames), max_bytes=1 << 20)[0], first_row=100)
        blocks = list(read_blocks(part, _DEAD_LETTER))
        bad = [each for block in blocks for each in block.bad_records]
        assert [each.source_row for each in bad] == [100, 107, 108, 119]
        assert [each.record for each in bad] == [records[index] for index in (0, 7, 8, 19)]
        assert {(each.stage.value, each.code) for each in bad} == {("read", "DATA_LOSS")}
        origins = [origin for block in blocks for origin in block.origins]
        assert [(each.first_row, each.num_rows) for each in origins] == [(101, 6), (109, 10)]
        assert blocks[-1].num_rows == 0

    @pytest.mark.parametrize("compress", [bytes, gzip.compress], ids=["plain", "gzip"])
    def test_a_damaged_length(self, put, compress):
        """The bytes from there on are one bad record, of which nothing is known."""
        frames = [bytearray(frame(each)) for each in _records(20)]
        offset = sum(map(len, frames[:5]))
        frames[5][0] ^= 1
        path = put(compress(b"".join(frames)))
        good, (bad,) = _read(FilePart(path=path))
        assert len(good) == 5
        assert (bad.source_row, bad.byte_offset, bad.record) == (5, offset, None)
        assert bad.message.startswith(f"bytes {offset} to the end cannot be read, however many")

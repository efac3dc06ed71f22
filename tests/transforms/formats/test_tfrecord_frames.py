"""Framing: whatever is damaged, and however content is cut into chunks, no other record is lost."""

import itertools
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servable_core.runtime.masked_crc32c import masked_crc32c
from tests.record_frames import frame
from transforms.formats.tfrecord_content import DecompressionError
from transforms.formats.tfrecord_frames import (
    FRAME_BYTES,
    Damage,
    Run,
    find_frames,
    num_good_headers,
    scan_frames,
)

_records = st.lists(st.binary(max_size=40), max_size=12)


def _cut(content, sizes):
    """Yields the content in chunks, whose sizes repeat."""
    start = 0
    for size in itertools.cycle(sizes):
        if start >= len(content):
            return
        yield content[start : start + size]
        start += size


def _scan(content, *, sizes=(1 << 20,), check_crc=True):
    """Returns the good records by offset, and the damage."""
    found = list(scan_frames(_cut(content, sizes), check_crc=check_crc))
    runs = [each for each in found if isinstance(each, Run)]
    good = {}
    for run in runs:
        good.update(zip(run.offsets.tolist(), run.records, strict=True))
    return good, [each for each in found if isinstance(each, Damage)]


def _offsets(records):
    return [0, *itertools.accumulate(len(each) + FRAME_BYTES for each in records)]


class TestWhole:
    @given(records=_records, sizes=st.lists(st.integers(1, 50), min_size=1, max_size=5))
    def test_any_chunks(self, records, sizes):
        """Records come whole and in order, with where they begin, whatever the chunks are."""
        good, damage = _scan(b"".join(map(frame, records)), sizes=sizes)
        assert list(good.items()) == list(zip(_offsets(records)[:-1], records, strict=True))
        assert damage == []

    def test_a_record_of_many_chunks(self):
        """A large record is put together from its chunks."""
        records = [b"a", bytes(range(256)) * 4096, b"b"]
        good, damage = _scan(b"".join(map(frame, records)), sizes=[1000])
        assert list(good.values()) == records
        assert damage == []

    def test_first_byte(self):
        """Places are told from where the content begins in its file."""
        content = frame(b"x") + frame(b"y")[:-1]
        run, damage = scan_frames([content], 1000)
        assert run.offsets.tolist() == [1000]
        assert damage.first_byte == 1017
        assert damage.reason == "it ends within the record at byte 1017"


class TestDamage:
    _RECORDS = (b"first", b"", b"the third one", b"4", b"fifth" * 5)

    def test_every_byte(self):
        """A payload or its checksum costs that record; a header, the rest behind it; nothing more."""
        content = b"".join(map(frame, self._RECORDS))
        offsets = _offsets(self._RECORDS)
        for position in range(len(content)):
            for flip in (1, 0x80):
                damaged = bytearray(content)
                damaged[position] ^= flip
                hit = int(np.searchsorted(offsets, position, "right")) - 1
                good, (damage,) = _scan(bytes(damaged))
                assert damage.first_byte == offsets[hit]
                if position - offsets[hit] < 12:
                    assert list(good.values()) == list(self._RECORDS[:hit])
                    assert (damage.record, damage.end_byte) == (None, None)
                    assert damage.reason == f"wrong checksum of the length at byte {offsets[hit]}"
                else:
                    others = [*self._RECORDS[:hit], *self._RECORDS[hit + 1 :]]
                    assert list(good.values()) == others
                    payload = bytes(damaged[offsets[hit] + 12 : offsets[hit + 1] - 4])
                    assert (damage.record, damage.end_byte) == (payload, offsets[hit + 1])
                    assert damage.reason == f"wrong checksum of the record at byte {offsets[hit]}"

    @given(data=st.data(), records=st.lists(st.binary(max_size=30), min_size=1, max_size=10))
    def test_several_payloads(self, data, records):
        """Each damaged payload is reported, in its place, and all others are read."""
        bad = data.draw(st.sets(st.integers(0, len(records) - 1)))
        frames = [bytearray(frame(each)) for each in records]
        for index in bad:
            frames[index][-1] ^= 0x55
        good, damage = _scan(b"".join(frames), sizes=[7])
        offsets = _offsets(records)
        assert [each.first_byte for each in damage] == [offsets[index] for index in sorted(bad)]
        assert [each.record for each in damage] == [records[index] for index in sorted(bad)]
        kept = {offsets[index]: records[index] for index in range(len(records)) if index not in bad}
        assert good == kept

    def test_every_cut(self):
        """Of content that was cut off, all whole records are read, and the rest is reported."""
        content = b"".join(map(frame, self._RECORDS))
        offsets = _offsets(self._RECORDS)
        for end in range(len(content) + 1):
            good, damage = _scan(content[:end])
            num_whole = int(np.searchsorted(offsets, end, "right")) - 1
            assert list(good.values()) == list(self._RECORDS[:num_whole])
            if end in offsets:
                assert damage == []
                continue
            part = "a header" if end - offsets[num_whole] < 12 else "the record"
            expected = f"it ends within {part} at byte {offsets[num_whole]}"
            assert [each.reason for each in damage] == [expected]

    def test_ignored_checksums(self):
        """Without checks, damage is data; only what cannot be a frame is found."""
        frames = [bytearray(frame(each)) for each in self._RECORDS]
        for each in frames:
            each[9] ^= 1
            each[-1] ^= 1
        good, damage = _scan(b"".join(frames), check_crc=False)
        assert list(good.values()) == list(self._RECORDS)
        assert damage == []
        _, (damage,) = _scan(struct.pack("<Q", 1 << 40) + bytes(100), check_crc=False)
        assert "a length of 1099511627776 at byte 0" in damage.reason

    def test_a_wild_length_is_not_waited_for(self):
        """A damaged length is found at once, not when so much content has not come."""

        def chunks():
            yield struct.pack("<QI", 1 << 30, 0) + bytes(100)
            pytest.fail("read on")

        (damage,) = scan_frames(chunks())
        assert damage.reason == "wrong checksum of the length at byte 0"

    def test_damaged_compression(self):
        """Records before the damage are read, and the rest is reported with the reason."""

        def chunks():
            yield frame(b"one") + frame(b"two")[:5]
            raise DecompressionError("it is broken")

        run, damage = scan_frames(chunks())
        assert run.records == [b"one"]
        assert damage.first_byte == 19
        assert damage.reason == "it is broken, at byte 24"


class TestHeaders:
    @given(lengths=st.lists(st.integers(0, (1 << 64) - 1), max_size=20), bad=st.integers(0, 30))
    def test_checksums_of_many(self, lengths, bad):
        """The checksums of lengths, made together, are those made one by one."""
        heads = [struct.pack("<Q", each) for each in lengths]
        headers = [bytearray(each + struct.pack("<I", masked_crc32c(each))) for each in heads]
        if bad < len(headers):
            headers[bad][8] ^= 1
        starts = np.arange(len(headers)) * 12
        assert num_good_headers(b"".join(headers), starts) == min(bad, len(headers))

    def test_a_frame_beyond_the_content(self):
        """The end of a frame that is not all there is told, too; that of a wild length is far."""
        content = frame(b"abc") + frame(b"x" * 100)[:20]
        assert find_frames(content).tolist() == [0, 19, 19 + 116]
        assert find_frames(b"\xff" * 12)[-1] > 1 << 60
        assert find_frames(b"").tolist() == [0]

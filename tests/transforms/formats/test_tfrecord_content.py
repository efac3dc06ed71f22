"""Content: plain, gzip and zlib, local and remote, damaged and cut off."""

import gzip
import os
import random
import zlib

import pytest

from tests import memory_file_system as memory
from tests.record_frames import frame
from transforms.formats.tfrecord_content import DecompressionError, FileContent, is_compressed

_CONTENT = b"".join(frame(random.Random(seed).randbytes(1000)) for seed in range(3000))
_COMPRESS = {
    "plain": bytes,
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "fast zlib": lambda content: zlib.compress(content, 1),
    "gzip members": lambda content: gzip.compress(content[:1000]) + gzip.compress(content[1000:]),
    "padded gzip": lambda content: gzip.compress(content) + bytes(1000),
}


@pytest.fixture(name="put", params=["local", "remote"])
def _put(request, tmp_path):
    def put(content):
        if request.param == "remote":
            memory.put("mem://bucket/a", content)
            return "mem://bucket/a"
        (tmp_path / "a").write_bytes(content)
        return str(tmp_path / "a")

    yield put
    memory.clear()


@pytest.mark.parametrize("compress", _COMPRESS.values(), ids=_COMPRESS)
def test_content(put, compress):
    """The content is the same however it is stored, whatever the file is called."""
    compressed = compress(_CONTENT)
    path = put(compressed)
    content = FileContent(path)
    assert b"".join(content.chunks()) == _CONTENT
    assert content.share == len(compressed) / len(_CONTENT)
    if path.startswith("mem://"):
        assert (memory.opens(path), memory.bytes_read(path)) == (1, len(compressed))


@pytest.mark.parametrize(("first_byte", "end_byte"), [(0, 5), (0, 100), (5, 9), (1 << 20, None)])
def test_part(put, first_byte, end_byte):
    """Of a part, nothing else is read."""
    path = put(_CONTENT)
    content = FileContent(path, first_byte, end_byte)
    assert b"".join(content.chunks()) == _CONTENT[first_byte:end_byte]


def test_nothing(put):
    """Files without content have none."""
    for empty in (b"", gzip.compress(b""), zlib.compress(b"")):
        assert list(FileContent(put(empty)).chunks()) == []


@pytest.mark.parametrize("compress", [gzip.compress, zlib.compress], ids=["gzip", "zlib"])
def test_cut_off(put, compress):
    """All that a cut file holds comes before the error."""
    content = os.urandom(5000)
    compressed = compress(content)
    for end in range(2, len(compressed), 97):
        with pytest.raises(DecompressionError):
            _read(put(compressed[:end]), got := bytearray())
        assert content.startswith(got)
        assert len(got) >= end - 200  # what deflate keeps back of bytes it cannot compress


@pytest.mark.parametrize(
    ("compress", "place"), [(gzip.compress, -6), (zlib.compress, -2)], ids=["gzip", "zlib"]
)
def test_damaged(put, compress, place):
    """What stands before the damage is not lost with the chunk that it is in."""
    content = bytes(random.Random(1).choices(range(16), k=50_000))
    compressed = bytearray(compress(content))
    compressed[place] ^= 0xFF  # in its own checksum
    with pytest.raises(DecompressionError, match="incorrect data check"):
        _read(put(bytes(compressed)), got := bytearray())
    assert got == content


def _read(path, got):
    for chunk in FileContent(path).chunks():
        got.extend(chunk)


@pytest.mark.parametrize("magic", [b"\x1f\x8b", b"\x78\x9c", b"\x78\x01"])
def test_a_record_whose_length_looks_compressed(magic):
    """Its checksum tells a length from a magic number."""
    record = bytes(int.from_bytes(magic, "little"))
    assert not is_compressed(frame(record)[:12])
    assert is_compressed(magic + bytes(10))
    assert not is_compressed(b"")
    assert not is_compressed(b"\x78")

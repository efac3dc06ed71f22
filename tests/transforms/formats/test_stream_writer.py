import gzip
import hashlib

import numpy as np
import pyarrow as pa
import pytest

from servable_core.errors import InternalError
from transforms.formats.part_writer import NO_TENSORS, RowTensors
from transforms.formats.stream_writer import StreamWriter, chunk_rows
from transforms.storage import create_file


def _keys(columns, tensors):
    return [f"{columns['x'].to_pylist()} {tensors.inputs.get('t')}\n".encode()]


@pytest.fixture(name="path")
def _path(tmp_path):
    return tmp_path / "part"


@pytest.mark.parametrize("with_gzip", [False, True])
def test_what_is_encoded_is_written(path, with_gzip):
    """Pieces are in the file in order; size and digest are the file's."""
    with create_file(str(path.parent), str(path)) as sink:
        writer = StreamWriter(sink, _keys, with_gzip=with_gzip)
        writer.write(pa.record_batch({"x": [1, 2]}), RowTensors(inputs={"t": [3, 4]}))
        writer.write(pa.record_batch({"x": [5]}))
        writer.close()
    content = path.read_bytes()
    assert (gzip.decompress(content) if with_gzip else content) == b"[1, 2] [3, 4]\n[5] None\n"
    assert writer.rows == 3
    assert writer.written().size_bytes == len(content)
    assert writer.written().sha256 == hashlib.sha256(content).hexdigest()


def test_chunks(path):
    """Long batches are encoded some rows at a time, with those rows' tensors."""
    seen = []

    def encode(columns, tensors):
        seen.append((columns.num_rows, tensors.outputs["y"][0]))
        return []

    with create_file(str(path.parent), str(path)) as sink:
        writer = StreamWriter(sink, encode)
        numbers = range(40_000)
        writer.write(pa.record_batch({"x": numbers}), RowTensors(outputs={"y": numbers}))
    assert seen == [(16_384, 0), (16_384, 16_384), (7_232, 32_768)]


def test_chunks_of_large_rows():
    """Rows of many bytes go fewer at a time, and at least one; what is logged counts."""
    small = pa.record_batch({"x": pa.array([1] * 4, pa.int8())})
    image = np.zeros((4, 1 << 20), np.uint8)
    assert chunk_rows(pa.record_batch({"x": [b"a" * (1 << 20)] * 3}), NO_TENSORS) == 7
    assert chunk_rows(pa.record_batch({"x": [b"a" * (20 << 20)] * 2}), NO_TENSORS) == 1
    assert chunk_rows(small, NO_TENSORS) == 16_384
    assert chunk_rows(small, RowTensors(inputs={"image": image})) == 7
    assert chunk_rows(small.slice(0, 0), NO_TENSORS) == 16_384


def test_another_schema(path):
    """A change of type is told with both types."""
    with create_file(str(path.parent), str(path)) as sink:
        writer = StreamWriter(sink, _keys)
        writer.write(pa.record_batch({"x": [1]}))
        with pytest.raises(InternalError, match="x was int64, is string"):
            writer.write(pa.record_batch({"x": ["a"]}))

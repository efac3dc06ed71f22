import io

import numpy as np
import pyarrow as pa
import pytest

from servable_core.errors import DataLossError
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from transforms.formats.tfrecord_writer import count_frames, example_writer, frames
from transforms.storage import create_file

_RECORDS = [b"", b"a", b"b" * 300, b"a", bytes(range(256)) * 300]


def _read(path, compression=""):
    tf = import_tensorflow()
    return list(tf.data.TFRecordDataset(str(path), compression).as_numpy_iterator())


@pytest.fixture(name="write", params=[False, True], ids=["plain", "gzip"])
def _write(request, tmp_path):
    """Writes batches; returns path and compression."""

    def write(*batches):
        path = tmp_path / ("a.tfrecord.gz" if request.param else "a.tfrecord")
        with create_file(str(tmp_path), str(path)) as sink:
            writer = example_writer(sink, with_gzip=request.param)
            for each in batches:
                writer.write(each)
            writer.close()
        return path, "GZIP" if request.param else ""

    return write


def test_frames(tmp_path):
    """TensorFlow, which verifies each checksum, reads the records that were framed."""
    (tmp_path / "a").write_bytes(frames(pa.array(_RECORDS, pa.large_binary())))
    assert _read(tmp_path / "a") == _RECORDS


def test_frames_of_a_slice(tmp_path):
    """A slice of an array is framed alone."""
    records = pa.array(_RECORDS, pa.large_binary()).slice(1, 3)
    (tmp_path / "a").write_bytes(frames(records))
    assert _read(tmp_path / "a") == _RECORDS[1:4]
    assert bytes(frames(records.slice(0, 0))) == b""


def test_tf_data_reads_examples(write):
    """tf.data and parse_example give the rows that were written."""
    tf = import_tensorflow()
    scores = np.random.default_rng(0).random((50, 3), np.float32)
    columns = pa.record_batch(
        {
            "id": pa.array(range(50)),
            "key": pa.array([f"row {each}" for each in range(50)]),
            "score": pa.FixedSizeListArray.from_arrays(pa.array(scores.reshape(-1)), 3),
        }
    )
    path, compression = write(columns.slice(0, 20), columns.slice(20))
    dataset = tf.data.TFRecordDataset(str(path), compression).batch(50)
    spec = {
        "id": tf.io.FixedLenFeature([], tf.int64),
        "key": tf.io.FixedLenFeature([], tf.string),
        "score": tf.io.FixedLenFeature([3], tf.float32),
    }
    (parsed,) = [tf.io.parse_example(each, spec) for each in dataset]
    assert parsed["id"].numpy().tolist() == list(range(50))
    assert parsed["key"].numpy().tolist() == [f"row {each}".encode() for each in range(50)]
    np.testing.assert_array_equal(parsed["score"].numpy(), scores)


def test_count(write):
    """Records are counted without being parsed."""
    path, _ = write(pa.record_batch({"x": pa.array(range(100))}))
    assert count_frames(str(path)) == 100
    path, _ = write(pa.record_batch({"x": pa.array([], pa.int64())}))
    assert count_frames(str(path)) == 0


def test_count_of_a_file_that_was_cut_off(write):
    """Wherever a file is cut off, but for between two records, that is told."""
    path, compression = write(pa.record_batch({"x": pa.array(range(5))}))
    whole = path.read_bytes()
    frame = len(whole) // 5
    for size in range(1, len(whole)):
        path.write_bytes(whole[:size])
        if not compression and size % frame == 0:
            assert count_frames(str(path)) == size // frame
        else:
            with pytest.raises(DataLossError, match="was cut off"):
                count_frames(str(path))


def test_files_repeat(write):
    """The same rows are the same bytes, compressed ones, too: no time is in them."""
    rows = pa.record_batch({"x": pa.array(range(5))})
    first = write(rows)[0].read_bytes()
    assert write(rows)[0].read_bytes() == first


def test_rows_with_large_values():
    """Rows are encoded some at a time; the file does not show it."""
    values = [bytes([each]) * 1_000_000 for each in range(20)]
    rows = pa.record_batch({"x": pa.array(values)})
    sink = _Pieces()
    writer = example_writer(sink)
    writer.write(rows)
    assert len(sink.pieces) == 3
    assert max(map(len, sink.pieces)) < 9_000_000
    assert writer.rows == 20
    content = io.BytesIO(b"".join(sink.pieces)).getvalue()
    assert content == bytes(b"".join(frames_of(rows)))


def frames_of(rows):
    """Frames each row alone."""
    from transforms.formats.example_bytes import to_examples

    return [frames(to_examples(rows.slice(each, 1))) for each in range(rows.num_rows)]


class _Pieces:
    def __init__(self):
        self.pieces = []

    def write(self, content):
        self.pieces.append(bytes(content))

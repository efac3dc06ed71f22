from pathlib import Path

from servable_core.runtime.masked_crc32c import masked_crc32c
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow


def test_the_checksums_of_tensorflows_writer(tmp_path):
    """Length and record of a file that TensorFlow wrote have the checksums that stand beside them."""
    path = tmp_path / "one.tfrecord"
    with import_tensorflow().io.TFRecordWriter(str(path)) as writer:
        writer.write(b"some record")
    content = path.read_bytes()
    assert masked_crc32c(content[:8]).to_bytes(4, "little") == content[8:12]
    assert masked_crc32c(b"some record").to_bytes(4, "little") == content[-4:]


def test_there_is_one():
    """The constant of the mask stands in one module."""
    root = Path(__file__).resolve().parents[3]
    sources = [*root.glob("servable_core/**/*.py"), *root.glob("transforms/**/*.py")]
    assert sum("0xA282EAD8" in each.read_text() for each in sources) == 1

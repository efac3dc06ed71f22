"""The rows that the user's functions are tried on: good ones, whatever comes before them."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from servable_core.errors import DataLossError, NotFoundError
from tests.datasets import to_examples
from tests.record_frames import frame
from transforms.formats.tfrecord_options import TFRecordOptions
from transforms.input_sample import sample_rows
from transforms.inputs import describe_inputs, find_inputs

_DEAD_LETTER = TFRecordOptions(on_error="dead_letter")
_IGNORE = TFRecordOptions(crc="ignore")


def _ids(directory, input_format, options, **kwargs):
    files = find_inputs([str(directory)])
    description = describe_inputs(files, input_format, None, options=options)
    return sample_rows(files, input_format, description, **kwargs).columns.column("id").to_pylist()


def _write_records(path, ids, bad=()):
    frames = [bytearray(frame(each)) for each in to_examples({"id": ids})]
    for row in bad:
        frames[row][-1] ^= 1
    path.write_bytes(b"".join(frames))


class TestTFRecord:
    def test_bad_records_are_no_sample(self, tmp_path):
        """Neither where they are the first ones, nor where they are all that a file has."""
        _write_records(tmp_path / "a.tfrecord", range(3), bad=range(3))
        _write_records(tmp_path / "b.tfrecord", range(10, 40), bad=[0])
        found = _ids(tmp_path, "tfrecord", _DEAD_LETTER)
        assert found == list(range(11, 11 + len(found)))
        assert found

    def test_checksums_that_nobody_wants_checked(self, tmp_path):
        """Records are as good as they will be when the job reads them."""
        _write_records(tmp_path / "a.tfrecord", range(3), bad=range(3))
        assert _ids(tmp_path, "tfrecord", _IGNORE, crc="ignore") == [0, 1, 2]

    def test_no_good_record(self, tmp_path):
        """There is nothing to try a function on."""
        _write_records(tmp_path / "a.tfrecord", range(3))
        files = find_inputs([str(tmp_path)])
        description = describe_inputs(files, "tfrecord", None)
        _write_records(tmp_path / "a.tfrecord", range(3), bad=range(3))
        with pytest.raises(NotFoundError, match="no good record"):
            sample_rows(files, "tfrecord", description)


class TestParquet:
    @staticmethod
    def _write(path, ids, *, is_damaged=False):
        pq.write_table(pa.table({"id": ids}), path, write_page_checksum=True)
        if is_damaged:
            content = bytearray(path.read_bytes())
            content[4:40] = bytes(36)
            path.write_bytes(bytes(content))

    def test_a_damaged_file_is_no_sample(self, tmp_path):
        """The rows of another one are."""
        self._write(tmp_path / "a.parquet", range(50), is_damaged=True)
        self._write(tmp_path / "b.parquet", range(50, 100))
        assert _ids(tmp_path, "parquet", _DEAD_LETTER) == list(range(50, 66))

    def test_none_but_damaged_files(self, tmp_path):
        """The error is that of the first."""
        for name in ("a", "b"):
            self._write(tmp_path / f"{name}.parquet", range(50), is_damaged=True)
        with pytest.raises(DataLossError, match=r"a\.parquet"):
            _ids(tmp_path, "parquet", _DEAD_LETTER)

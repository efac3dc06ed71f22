"""Input that is not there, cannot be read, or is of another format."""

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from tests.bad_input.conftest import vectors
from tests.datasets import to_examples

_GOOD_ROWS = {"id": [1, 2, 3], "x": [[1.0, 2.0, 3.0]] * 3}


@pytest.fixture(name="write")
def _write(tmp_path):
    """Writes a file and returns its path."""

    def write(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return str(path)

    return write


@pytest.fixture(name="write_records")
def _write_records(tmp_path):
    """Writes records as TFRecord and returns the path."""

    def write(name, records):
        tf = import_tensorflow()
        path = str(tmp_path / name)
        with tf.io.TFRecordWriter(path) as writer:
            for record in records:
                writer.write(record)
        return path

    return write


class TestFinding:
    def test_glob_without_matches(self, refusal, tmp_path):
        """A glob that matches nothing is repeated as it was given."""
        message = refusal(f"--input={tmp_path}/*.parquet")
        assert message == f"--input={tmp_path}/*.parquet matches no file with anything in it"

    def test_missing_file_hints_at_quoting(self, refusal, tmp_path):
        """A plain path may be what the shell made of a glob, so quoting is explained."""
        message = refusal(f"--input={tmp_path}/rows.parquet")
        assert message.endswith(
            "matches no file with anything in it (a glob needs quotes in the shell)"
        )

    def test_one_of_two_patterns_matches_nothing(
        self, refusal, precompute_args, data_path, tmp_path
    ):
        """Each pattern must match something."""
        command = [*precompute_args(), f"--input={tmp_path}/more/*.parquet"]
        assert refusal(command=command).startswith(f"--input={tmp_path}/more/*.parquet matches no")

    def test_empty_pattern(self, refusal):
        """An empty value does not mean the working directory."""
        assert refusal("--input=") == ("--input is empty: give files, directories or quoted globs")

    def test_directory_of_hidden_files(self, refusal, write, tmp_path):
        """What `_` or `.` hides is no input."""
        write("hidden/_SUCCESS", b"x")
        write("hidden/.part.parquet.crc", b"x")
        assert f"--input={tmp_path}/hidden matches no file" in refusal(f"--input={tmp_path}/hidden")

    def test_mixed_formats(self, refusal, write, data_path, tmp_path):
        """Parquet beside TFRecord is refused, with a file of each."""
        parquet = write("mixed/a.parquet", Path(data_path).read_bytes())
        tfrecord = write("mixed/b.tfrecord", b"x")
        assert refusal(f"--input={tmp_path}/mixed") == (
            f"--input matches files of several formats, such as {parquet} (parquet) and {tfrecord}"
            " (tfrecord); give one format per job"
        )

    def test_unknown_suffix(self, refusal, write, data_path, tmp_path):
        """A file whose name tells nothing is named, alone and beside others."""
        path = write("mixed/rows.txt", b"1,2,3\n")
        expected = (
            f"cannot tell the format of {path} by its name; give --input_format, one of parquet,"
            " tfrecord, csv, jsonl"
        )
        assert refusal(f"--input={path}") == expected
        write("mixed/a.parquet", Path(data_path).read_bytes())
        assert refusal(f"--input={tmp_path}/mixed") == expected


class TestParquet:
    @pytest.mark.parametrize("keep", [1.0 / 3, 0.9, 0.999])
    def test_truncated(self, refusal, write, data_path, keep):
        """A file without its footer is refused by name, and the message asks if it is complete."""
        content = Path(data_path).read_bytes()
        path = write("cut.parquet", content[: int(keep * len(content))])
        message = refusal(f"--input={path}")
        assert message.startswith(f"{path} cannot be read as Parquet: ")
        assert "is it complete?" in message

    def test_garbage(self, refusal, write):
        """Text with a Parquet name is refused."""
        path = write("text.parquet", b"this is not Parquet\n" * 20)
        assert refusal(f"--input={path}").startswith(f"{path} cannot be read as Parquet: ")

    def test_corrupt_footer(self, refusal, write, data_path):
        """A footer whose bytes are wrong is refused, magic and length notwithstanding."""
        content = bytearray(Path(data_path).read_bytes())
        content[-60:-8] = b"\xff" * 52
        path = write("broken.parquet", bytes(content))
        message = refusal(f"--input={path}")
        assert message.startswith(f"{path} is a corrupt Parquet file: ")
        assert message.endswith("; copy or write it again")
        assert message.isprintable()

    def test_no_bytes(self, refusal, write):
        """An empty file is a Parquet file that was not copied."""
        path = write("empty.parquet", b"")
        message = refusal(f"--input={path}")
        assert message.startswith(f"{path} cannot be read as Parquet: Parquet file size is 0 bytes")

    def test_no_bytes_among_good_files(self, refusal, write, data_path, tmp_path):
        """One empty file among good ones is not skipped: its rows would be missing."""
        write("several/a.parquet", Path(data_path).read_bytes())
        path = write("several/b.parquet", b"")
        assert refusal(f"--input={tmp_path}/several").startswith(
            f"{path} cannot be read as Parquet"
        )

    def test_last_of_many_is_truncated(self, refusal, write, data_path, tmp_path):
        """Every footer is read before anything starts."""
        content = Path(data_path).read_bytes()
        for index in range(20):
            write(f"many/part-{index:02d}.parquet", content)
        path = write("many/part-20.parquet", content[:-1])
        assert refusal(f"--input={tmp_path}/many").startswith(f"{path} cannot be read as Parquet")

    def test_no_rows(self, refusal, tmp_path):
        """Files with a schema and no rows give nothing to do."""
        path = tmp_path / "none.parquet"
        pq.write_table(pa.table({"id": pa.array([], pa.int64()), "x": vectors([])}), path)
        assert refusal(f"--input={path}") == (
            f"--input has no rows: {path} could be read, but nothing is in there"
        )

    def test_read_as_tfrecord(self, refusal, data_path):
        """A format that was given wrongly is told by the first bytes."""
        message = refusal("--input_format=tfrecord")
        assert message.startswith(f"{data_path} is not TFRecord, or is corrupt")
        assert "--input_format" in message


class TestTFRecord:
    @pytest.fixture(name="content")
    def _content(self, write_records):
        return Path(write_records("good.tfrecord", to_examples(_GOOD_ROWS))).read_bytes()

    def test_garbage(self, refusal, write):
        """Text with a TFRecord name has a wrong checksum at byte 0."""
        path = write("text.tfrecord", b"this is not TFRecord\n" * 20)
        assert refusal(f"--input={path}") == (
            f"{path} is not TFRecord, or is corrupt: wrong checksum of the length at byte 0;"
            " give --input_format if it is something else"
        )

    @pytest.mark.parametrize(
        ("num_bytes", "words"),
        [(5, "it ends within a header at byte 0"), (30, "it ends within the record at byte 0")],
    )
    def test_truncated_in_the_first_record(self, refusal, write, content, num_bytes, words):
        """A file that ends in its first record is refused with the place."""
        path = write("cut.tfrecord", content[:num_bytes])
        assert f"{path} is not TFRecord, or is corrupt: {words}" in refusal(f"--input={path}")

    def test_damaged_record(self, refusal, write, content):
        """A changed byte in a record shows in its checksum."""
        damaged = bytearray(content)
        damaged[20] ^= 1
        path = write("damaged.tfrecord", bytes(damaged))
        assert "wrong checksum of the record at byte 0" in refusal(f"--input={path}")

    def test_a_length_that_would_fill_memory(self, refusal, write, content):
        """A damaged length is found by its checksum before so many bytes are read."""
        damaged = bytearray(content)
        damaged[6] = 0x7F
        path = write("long.tfrecord", bytes(damaged))
        assert "wrong checksum of the length at byte 0" in refusal(f"--input={path}")

    @pytest.mark.parametrize(
        "content",
        [b"\x1f\x8b" + b"xx" * 50, gzip.compress(b"some records" * 100)[:40]],
        ids=["garbage", "truncated"],
    )
    def test_gzip_that_cannot_be_unpacked(self, refusal, write, content):
        """Broken compression is refused like a broken file."""
        path = write("bad.tfrecord.gz", content)
        assert refusal(f"--input={path}").startswith(f"{path} is not TFRecord, or is corrupt: ")

    def test_gzip_of_something_else(self, refusal, write):
        """Good compression of no TFRecord is refused, too."""
        path = write("text.tfrecord.gz", gzip.compress(b"hello world\n" * 10))
        assert "wrong checksum of the length at byte 0" in refusal(f"--input={path}")

    def test_records_that_are_no_examples(self, refusal, write_records):
        """Records are tf.train.Example, and others are called what they are not."""
        path = write_records("raw.tfrecord", [b"\xff\xfe raw bytes"] * 3)
        assert refusal(f"--input={path}") == (
            f"{path}: its records are not tf.train.Example protos, which is what is read from"
            " TFRecord"
        )

    def test_no_records(self, refusal, write):
        """A file that unpacks to nothing has no rows."""
        path = write("none.tfrecord.gz", gzip.compress(b""))
        assert refusal(f"--input={path}").startswith(f"--input has no rows: {path}")

    def test_no_records_for_the_sample(self, refusal, write):
        """Without a record there is nothing to try `--preprocess` on either."""
        path = write("none.tfrecord.gz", gzip.compress(b""))
        flags = [f"--input={path}", "--preprocess=json:loads"]
        assert refusal(*flags).startswith(f"--input has no rows: {path}")

    def test_examples_without_features(self, refusal, write_records):
        """Empty Examples are rows, but feed no input."""
        path = write_records("empty.tfrecord", [b""] * 3)
        message = refusal(f"--input={path}", num_lines=2)
        assert "input x: float32 [None, 3] has no column of that name" in message
        assert message.endswith("with one of: none")

    def test_types_that_differ_between_files(self, refusal, write_records, tmp_path):
        """A feature is of one type in all files."""
        write_records("part-0.tfrecord", to_examples({"id": [1], "x": [[1.0, 2.0, 3.0]]}))
        write_records("part-1.tfrecord", to_examples({"id": [1], "x": [[1, 2, 3]]}))
        message = refusal(f"--input={tmp_path}/part-*.tfrecord")
        assert message == "feature 'x' is float in one file and int64 in another"

    def test_read_as_parquet(self, refusal, write, content):
        """A format that was given wrongly is told by the footer that is missing."""
        path = write("good.tfrecord", content)
        message = refusal(f"--input={path}", "--input_format=parquet")
        assert message.startswith(f"{path} cannot be read as Parquet")

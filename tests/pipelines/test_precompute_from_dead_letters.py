"""`_dead_letters/` of an earlier job as `--input`: its records are read again, as the rows they were."""

import datetime as dt
import itertools

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from servable_core.errors import InvalidArgumentError, NotFoundError
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from tests.datasets import to_examples, write_parquet
from tests.jobs import read_output, run_job
from tests.models import save_signatures
from transforms.bad_records import BadRecord, Stage
from transforms.dead_letters import bad_row, write_dead_letters
from transforms.input_batch import InputBatch, Origin
from transforms.read_unit import ReadOptions, read_unit


def _save_limited(base, version, limit):
    """Saves a model that doubles `x`, and refuses values of `limit` and more."""
    tf = import_tensorflow()

    def call(x):
        fits = tf.debugging.assert_less(x, tf.constant(limit), message="too large")
        with tf.control_dependencies([fits]):
            return {"y": 2.0 * x}

    specs = {"x": tf.TensorSpec([None], tf.float32)}
    return save_signatures(base, version, {"serving_default": (call, specs)})


def _save_examples(base, version, limit):
    """Likewise, for serialized Examples."""
    tf = import_tensorflow()

    def call(examples):
        x = tf.io.parse_example(examples, {"x": tf.io.FixedLenFeature([], tf.float32)})["x"]
        fits = tf.debugging.assert_less(x, tf.constant(limit), message="too large")
        with tf.control_dependencies([fits]):
            return {"y": 2.0 * x}

    specs = {"examples": tf.TensorSpec([None], tf.string)}
    return save_signatures(base, version, {"serving_default": (call, specs)})


def _write_letters(directory, letters, unit=0):
    write_dead_letters(str(directory), f"_dead_letters/part-{unit:05d}-of-00009.parquet", letters)
    return directory / "_dead_letters"


def _batch(columns, path="/data/a.parquet", first_row=5):
    origin = Origin(path=path, first_row=first_row, num_rows=columns.num_rows)
    return InputBatch(columns=columns, origins=(origin,))


def _row_letters(columns, rows=None):
    batch = _batch(columns)
    wanted = range(batch.num_rows) if rows is None else rows
    return [bad_row(batch, row, Stage.BIND, ValueError("bad"), ("m", 1)) for row in wanted]


class TestRows:
    def test_what_failed_is_run_by_a_model_that_takes_it(self, tmp_path):
        """Each row once, though two versions had refused it, with its place in the first input."""
        for version, limit in ((1, 10.0), (2, 36.0), (3, 1000.0)):
            _save_limited(tmp_path / "model", version, limit)
        x = np.arange(40, dtype=np.float32)
        table = pa.table({"x": x, "name": [f"row {row}" for row in range(40)]})
        paths = write_parquet(table, tmp_path / "in", [15, 25], 5)
        first = run_job(
            tmp_path / "model",
            tmp_path / "in",
            tmp_path / "first",
            model_version="1,2",
            on_error="dead_letter",
            passthrough=("name",),
            unit_rows=15,
            max_batch_size=8,
        )
        assert first.manifest["dead_letters"] == {"predict": 30 + 4}
        again = run_job(
            tmp_path / "model",
            tmp_path / "first" / "_dead_letters",
            tmp_path / "again",
            model_version="3",
            passthrough=("name",),
        )
        output = read_output(again.output, ["source_file", "source_row"])
        places = [
            (path, row) for path, rows in zip(paths, (15, 25), strict=True) for row in range(rows)
        ]
        expected = [
            (*place, f"row {row}", 2.0 * row) for row, place in enumerate(places) if row >= 10
        ]
        names = ("source_file", "source_row", "name", "y")
        assert list(zip(*(output[name].to_pylist() for name in names), strict=True)) == expected

    def test_nulls_get_their_default_in_a_second_run(self, tmp_path):
        """A column of which every letter has a null still has its type."""
        _save_limited(tmp_path / "model", 1, 1000.0)
        table = pa.table({"id": range(4), "x": pa.array([1, None, 3, None], pa.float32())})
        write_parquet(table, tmp_path / "in", [4], 4)
        options = {"on_error": "dead_letter", "on_null": "dead_letter", "key": "id"}
        run_job(tmp_path / "model", tmp_path / "in", tmp_path / "first", **options)
        again = run_job(
            tmp_path / "model",
            f"{tmp_path}/first/_dead_letters/*.parquet",
            tmp_path / "again",
            key="id",
            on_null="default:7",
        )
        output = read_output(again.output)
        assert output.select(["id", "y"]).to_pydict() == {"id": [1, 3], "y": [14.0, 14.0]}
        resumed = run_job(
            tmp_path / "model",
            f"{tmp_path}/first/_dead_letters/*.parquet",
            tmp_path / "again",
            key="id",
            if_exists="resume",
        )
        assert resumed.manifest == again.manifest

    def test_preprocess_is_tried_on_some_of_them(self, tmp_path, monkeypatch):
        """Before the job starts, as for all formats."""
        (tmp_path / "halving_of_test.py").write_text(
            "import pyarrow as pa\n"
            "import pyarrow.compute as pc\n"
            "def halve(batch):\n"
            "    x = pc.divide(batch.column('x'), pa.scalar(2, pa.float32()))\n"
            "    return batch.set_column(batch.schema.get_field_index('x'), 'x', x)\n"
        )
        monkeypatch.syspath_prepend(str(tmp_path))
        _save_limited(tmp_path / "model", 1, 1000.0)
        columns = pa.record_batch({"x": pa.array([4, 8], pa.float32())})
        letters = _write_letters(tmp_path, _row_letters(columns))
        report = run_job(
            tmp_path / "model", letters, tmp_path / "out", preprocess="halving_of_test:halve"
        )
        assert sorted(read_output(report.output, "y")["y"].to_pylist()) == [4.0, 8.0]

    def test_columns_come_back_as_they_were(self, tmp_path):
        """Bytes, nulls, lists, infinities, times, decimals."""
        columns = pa.record_batch(
            {
                "bytes": pa.array([b"\xff", b"", None]),
                "lists": pa.array([[1.5, None], None, []], pa.list_(pa.float32())),
                "texts": pa.array([["a"], [b"\x00".decode()], ["\u00e9"]]),
                "fixed": pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int8(), 2)),
                "number": pa.array([np.inf, np.nan, 0.1], pa.float32()),
                "when": pa.array([1577923200000001, None, None], pa.timestamp("us")),
                "day": pa.array([None, dt.date(2020, 1, 2), None]),
                "nothing": pa.array([None, None, None], pa.int16()),
                "flag": pa.array([True, False, None]),
            }
        )
        letters = _write_letters(tmp_path, _row_letters(columns))
        (found,) = _read(letters, columns.schema)
        assert found.columns.schema.equals(columns.schema)
        for name in columns.schema.names:
            assert repr(found.columns.column(name).to_pylist()) == repr(
                columns.column(name).to_pylist()
            )
        assert [found.place(row) for row in range(3)] == [
            ("/data/a.parquet", 5 + i) for i in range(3)
        ]

    def test_columns_that_told_the_place_are_left_out(self, tmp_path):
        """They are made anew; what only has their name stays."""
        own = pa.record_batch({"x": [1], "source_file": ["/data/a.parquet"], "source_row": [5]})
        letters = _write_letters(tmp_path / "own", _row_letters(own))
        assert _described(letters).schemas[0].names == ["x"]
        others = pa.record_batch({"x": [1], "source_file": ["/else"], "source_row": [5]})
        letters = _write_letters(tmp_path / "others", _row_letters(others))
        assert _described(letters).schemas[0].names == ["x", "source_file", "source_row"]

    def test_bytes_that_never_were_a_row(self, tmp_path):
        """A line of CSV, say: an error that names it, or a letter again."""
        _save_limited(tmp_path / "model", 1, 1000.0)
        line = BadRecord(
            source_file="/data/a.csv",
            source_row=77,
            byte_offset=None,
            stage=Stage.READ,
            code="INVALID_ARGUMENT",
            message="two fields",
            record=b"1,2",
        )
        columns = pa.record_batch({"x": pa.array([4], pa.float32())})
        letters = _write_letters(tmp_path, [line, *_row_letters(columns)])
        with pytest.raises(Exception, match=r"row 77 of /data/a\.csv: its letter has bytes"):
            run_job(tmp_path / "model", letters, tmp_path / "failed")
        report = run_job(tmp_path / "model", letters, tmp_path / "out", on_error="dead_letter")
        assert read_output(report.output, "y")["y"].to_pylist() == [8.0]
        (letter,) = pq.read_table(tmp_path / "out" / "_dead_letters").to_pylist()
        assert (letter["source_file"], letter["source_row"]) == ("/data/a.csv", 77)
        assert letter["record"] == b"1,2"


class TestRecords:
    def test_payloads_are_fed_as_they_are(self, tmp_path):
        """To a model that takes serialized Examples."""
        for version, limit in ((1, 10.0), (2, 1000.0)):
            _save_examples(tmp_path / "model", version, limit)
        path = _write_tfrecord(tmp_path / "in" / "a.tfrecord", to_examples(_columns(20)))
        run_job(
            tmp_path / "model",
            tmp_path / "in",
            tmp_path / "first",
            model_version="1",
            on_error="dead_letter",
        )
        again = run_job(
            tmp_path / "model", tmp_path / "first" / "_dead_letters", tmp_path / "again"
        )
        output = read_output(again.output, "source_row")
        assert output["source_row"].to_pylist() == list(range(10, 20))
        assert set(output["source_file"].to_pylist()) == {str(path)}
        assert output["y"].to_pylist() == [2.0 * row for row in range(10, 20)]

    def test_features_are_parsed_and_the_unparsable_keep_their_place(self, tmp_path):
        """A letter of a letter says where the record was at first."""
        _save_limited(tmp_path / "model", 1, 1000.0)
        good, bad = to_examples(_columns(1))[0], b"\xffno example"
        letters = [
            BadRecord(
                source_file="/data/a.tfrecord",
                source_row=row,
                byte_offset=offset,
                stage=Stage.PARSE,
                code="INVALID_ARGUMENT",
                message="no Example",
                record=record,
            )
            for row, offset, record in (
                (3, 90, good),
                (7, 220, bad),
                (9, None, bad),
                (9, None, bad),
            )
        ]
        directory = _write_letters(tmp_path, letters)
        report = run_job(tmp_path / "model", directory, tmp_path / "out", on_error="dead_letter")
        output = read_output(report.output, "source_row")
        assert output.select(["source_row", "y"]).to_pydict() == {"source_row": [3], "y": [0.0]}
        found = pq.read_table(tmp_path / "out" / "_dead_letters").to_pylist()
        assert [(each["source_row"], each["byte_offset"], each["record"]) for each in found] == [
            (7, 220, bad),
            (9, None, bad),
        ]


class TestFiles:
    def test_letters_without_a_record_are_no_rows(self, tmp_path):
        """There is nothing to read of them."""
        _save_limited(tmp_path / "model", 1, 1000.0)
        lost = BadRecord(
            source_file="/data/a.tfrecord",
            source_row=1,
            byte_offset=7,
            stage=Stage.READ,
            code="DATA_LOSS",
            message="cut off",
        )
        columns = pa.record_batch({"x": pa.array([4, 5], pa.float32())})
        _write_letters(tmp_path, [lost], unit=0)
        letters = _write_letters(tmp_path, [lost, *_row_letters(columns)], unit=1)
        report = run_job(tmp_path / "model", letters, tmp_path / "out", limit=1)
        assert read_output(report.output, "y")["y"].to_pylist() == [8.0]
        (letters / "part-00001-of-00009.parquet").unlink()
        with pytest.raises(NotFoundError, match="--input has no rows"):
            run_job(tmp_path / "model", letters, tmp_path / "other")

    def test_letters_beside_other_files(self, tmp_path):
        """One job cannot read both."""
        _save_limited(tmp_path / "model", 1, 1000.0)
        columns = pa.record_batch({"x": pa.array([4], pa.float32())})
        letters = _write_letters(tmp_path, _row_letters(columns))
        pq.write_table(pa.Table.from_batches([columns]), tmp_path / "a.parquet")
        for inputs in itertools.permutations([str(letters), str(tmp_path / "a.parquet")]):
            with pytest.raises(
                InvalidArgumentError, match=r"dead letters and other files.*a\.parquet"
            ):
                run_job(tmp_path / "model", list(inputs), tmp_path / "out")


def _columns(num_rows):
    return {"x": np.arange(num_rows, dtype=np.float32)}


def _write_tfrecord(path, records):
    path.parent.mkdir(parents=True)
    tf = import_tensorflow()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
    return path


def _described(directory):
    from transforms.inputs import describe_inputs, find_inputs, input_format_of

    files = find_inputs([str(directory)])
    return describe_inputs(files, input_format_of(files, None), None)


def _read(directory, schema):
    """Returns the batches of all letters in a directory, by way of a plan's units."""
    from transforms.formats.tfrecord import Feature
    from transforms.inputs import find_inputs
    from transforms.plan import InputFile
    from transforms.unit_table import Unit

    description = _described(directory)
    files = [
        InputFile(path=each.path, size_bytes=each.size_bytes, mtime_secs=each.mtime_secs)
        for each in find_inputs([str(directory)])
    ]
    types = {field.name: field.type for field in description.schemas[0]}
    options = ReadOptions(
        input_format=description.input_format,
        columns=tuple(schema.names),
        features=tuple(
            Feature(name=name, value_type=types[name], length=None) for name in schema.names
        ),
        with_records=False,
        with_source=False,
        batch_rows=lambda: 100,
    )
    return list(read_unit(Unit(index=0, ranges=description.pieces), files, options))

import gzip
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from servable_core.errors import DataLossError, InvalidArgumentError
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from servable_core.testing.fake_clock import FakeClock
from tests.datasets import write_tfrecord
from transforms import read_unit as read_unit_module
from transforms.bad_records import Stage
from transforms.byte_budget import ByteBudget
from transforms.formats import parquet, tfrecord
from transforms.formats.tfrecord import Feature
from transforms.plan import InputFile
from transforms.read_unit import ReadOptions, read_unit
from transforms.stage_times import StageTimes
from transforms.unit_table import Unit, UnitRange

_ID = Feature(name="id", value_type=pa.int64(), length=None)
_OPTIONS = ReadOptions(
    input_format="tfrecord",
    columns=("id",),
    features=(_ID,),
    with_records=True,
    with_source=True,
    batch_rows=lambda: 64,
)
_MIB = 1 << 20


def _read(paths, options, num_rows=None):
    """Returns the batches of a unit of whole files."""
    inputs = [InputFile(path=path, size_bytes=1, mtime_secs=0.0) for path in paths]
    ranges = tuple(
        UnitRange(
            file_index=index,
            first_group=0,
            end_group=1,
            first_row=0,
            num_rows=-1 if num_rows is None else num_rows[index],
            size_bytes=1,
        )
        for index in range(len(paths))
    )
    return list(read_unit(Unit(index=0, ranges=ranges), inputs, options))


def _ids(batches):
    return [value for each in batches for value in each.columns["id"].to_pylist()]


def _sources(batches):
    columns = [each.columns.select(["source_file", "source_row"]) for each in batches]
    return [tuple(row.values()) for each in columns for row in each.to_pylist()]


@pytest.fixture(name="small_files", params=["", "GZIP"])
def _small_files(request, tmp_path):
    """Files of 0 to 9 records, whose ids count up."""
    paths, start = [], 0
    for size in range(10):
        path = tmp_path / f"{size}.tfrecord"
        ids = np.arange(start, start + size)
        if size:
            write_tfrecord({"id": ids}, path, compression=request.param)
        else:
            path.write_bytes(gzip.compress(b"") if request.param else b"")
        paths.append(str(path))
        start += size
    return paths


def test_row_groups_that_wait_are_counted(tmp_path):
    """With dead letters, what waits for the rest of its row group is within the bytes in flight."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"id": range(1000)}), path)
    with mock.patch.object(ByteBudget, "try_acquire", autospec=True, return_value=False) as asked:
        for on_error, num_asked in (("fail", 0), ("dead_letter", 1)):
            options = replace(
                _OPTIONS,
                input_format="parquet",
                with_records=False,
                on_error=on_error,
                in_flight=ByteBudget(100),
            )
            assert _ids(_read([str(path)], options, [1000])) == list(range(1000))
            assert [call.args[0] for call in asked.call_args_list] == [
                options.in_flight
            ] * num_asked


class TestSmallTFRecordFiles:
    def test_share_batches_in_order(self, small_files, monkeypatch):
        """Neighbours are read into one batch, without a pipeline of TensorFlow's for each."""
        monkeypatch.setattr(import_tensorflow().data, "TFRecordDataset", None)
        batches = _read(small_files, replace(_OPTIONS, batch_rows=lambda: 30))
        assert [each.num_rows for each in batches] == [30, 15]
        assert _ids(batches) == list(range(45))
        expected = [(small_files[size], row) for size in range(10) for row in range(size)]
        assert _sources(batches) == expected
        assert sum(len(each.records) for each in batches) == 45

    @pytest.mark.parametrize("damaged", [1, 5, 9])
    def test_a_damaged_one_is_named(self, small_files, damaged):
        """Whichever file of a batch is cut off, the error names it."""
        path = Path(small_files[damaged])
        path.write_bytes(path.read_bytes()[:-3])
        with pytest.raises(DataLossError, match=f"^{path} is not TFRecord, or is corrupt"):
            _read(small_files, _OPTIONS)

    @pytest.mark.parametrize("other", [1, 5, 9])
    def test_one_with_other_types_is_named(self, small_files, other):
        """Whichever file of a batch has a feature of another type, the error names it."""
        write_tfrecord({"id": [b"x"]}, small_files[other])
        expected = rf"^{small_files[other]}: record 0, at byte 0: .*id"
        with pytest.raises(InvalidArgumentError, match=expected):
            _read(small_files, _OPTIONS)

    def test_one_without_the_feature(self, small_files):
        """Records that lack a feature have null for it."""
        write_tfrecord({"name": [b"x"] * 3}, small_files[3])
        assert _ids(_read(small_files, _OPTIONS))[:8] == [0, 1, 2, None, None, None, 6, 7]

    def test_planned_rows(self, small_files):
        """No more rows are read than planned of each file, and fewer are an error."""
        paths = small_files[5:7]
        assert _ids(_read(paths, _OPTIONS, num_rows=[5, 2])) == [10, 11, 12, 13, 14, 15, 16]
        with pytest.raises(DataLossError, match=f"{paths[0]} gave 5 rows where 6 were planned"):
            _read(paths, _OPTIONS, num_rows=[6, 6])

    def test_beside_a_long_one(self, tmp_path):
        """A long file between short ones keeps its place."""
        paths, sizes = [], [3, 40_000, 3]
        for index, size in enumerate(sizes):
            start = sum(sizes[:index])
            ids = np.arange(start, start + size)
            paths.append(write_tfrecord({"id": ids}, tmp_path / f"{index}.tfrecord"))
        assert Path(paths[1]).stat().st_size > _MIB
        batches = _read(paths, replace(_OPTIONS, batch_rows=lambda: 1024))
        assert _ids(batches) == list(range(sum(sizes)))
        assert max(each.num_rows for each in batches) == 1024


class TestBytes:
    @pytest.mark.parametrize("compression", ["", "GZIP"])
    def test_of_large_records(self, compression, tmp_path):
        """The size of serialized records is told as it is, and bounds a batch."""
        columns = {"id": np.arange(80), "image": [b"x" * _MIB] * 80}
        path = write_tfrecord(columns, tmp_path / "a.tfrecord", compression=compression)
        batches = _read([path], _OPTIONS)
        assert _ids(batches) == list(range(80))
        for each in batches:
            assert each.num_rows * _MIB <= each.size_bytes <= 32 * _MIB
        fixed = _read([path], replace(_OPTIONS, fixed_rows=True))
        assert [each.num_rows for each in fixed] == [64, 16]
        assert fixed[0].size_bytes >= 64 * _MIB

    @pytest.mark.parametrize(
        "column",
        [
            pa.array(["x" * 1000] * 100),
            pa.array([b"x" * 1000] * 100, pa.large_binary()),
            pa.array([[1.0] * 250] * 100, pa.list_(pa.float32())),
            pa.array([["x" * 10] * 100] * 100),
        ],
        ids=["string", "large_binary", "list", "list of strings"],
    )
    def test_of_parquet_columns(self, column, tmp_path):
        """Values of variable length are counted by what a batch's own rows take."""
        pq.write_table(pa.table({"id": range(100), "x": column}), tmp_path / "a.parquet")
        options = replace(
            _OPTIONS,
            input_format="parquet",
            columns=("id", "x"),
            with_source=False,
            with_records=False,
            batch_rows=lambda: 50,
        )
        (batch, _) = _read([str(tmp_path / "a.parquet")], options)
        for part, num_rows in ((batch, 50), (batch.slice(10, 20), 10)):
            assert 1000 * num_rows <= part.size_bytes <= 1500 * num_rows


class TestDamagedRowGroups:
    """Three row groups of 50 rows, the second of them damaged."""

    @pytest.fixture(name="path")
    def _path(self, tmp_path):
        path = tmp_path / "a.parquet"
        pq.write_table(pa.table({"id": range(150)}), path, row_group_size=50, use_dictionary=False)
        offset = pq.ParquetFile(path).metadata.row_group(1).column(0).data_page_offset
        content = bytearray(path.read_bytes())
        content[offset : offset + 30] = b"\xff" * 30
        path.write_bytes(bytes(content))
        return str(path)

    def _read(self, path, first_group=0, end_group=3, num_rows=150, **changes):
        options = {"input_format": "parquet", "with_records": False, "on_error": "dead_letter"}
        part = UnitRange(
            file_index=0,
            first_group=first_group,
            end_group=end_group,
            first_row=50 * first_group,
            num_rows=num_rows,
            size_bytes=1,
        )
        bad = []
        batches = list(
            read_unit(
                Unit(index=0, ranges=(part,)),
                [InputFile(path=path, size_bytes=1, mtime_secs=0.0)],
                replace(_OPTIONS, **(options | changes)),
                bad.extend,
            )
        )
        return batches, bad

    @pytest.mark.parametrize("fixed_rows", [False, True])
    def test_each_row_is_a_bad_record(self, path, fixed_rows):
        """Rows keep their numbers; those of the damaged group are told one by one, without record."""
        batches, bad = self._read(path, fixed_rows=fixed_rows)
        good = [*range(50), *range(100, 150)]
        assert _ids(batches) == good
        assert _sources(batches) == [(path, row) for row in good]
        assert [each.source_row for each in bad] == list(range(50, 100))
        for each in bad:
            assert (each.source_file, each.stage, each.code) == (path, Stage.READ, "DATA_LOSS")
            assert each.message.startswith("row group 1 cannot be read: ")
            assert (each.record, each.byte_offset) == (None, None)

    @pytest.mark.parametrize("num_rows", [1, 50, 51, 99, 100, 101, 149])
    def test_only_wanted_rows_count(self, path, num_rows):
        """With a limit, rows and bad records are as many as it says."""
        batches, bad = self._read(path, num_rows=num_rows)
        seen = [*_ids(batches), *(each.source_row for each in bad)]
        assert sorted(seen) == list(range(num_rows))

    def test_in_a_unit_of_its_own(self, path):
        """A unit may have no good row."""
        batches, bad = self._read(path, 1, 2, 50)
        assert batches == []
        assert len(bad) == 50

    def test_sample(self, path):
        """Bad records are sampled as rows are."""
        batches, bad = self._read(path, sample=0.5)
        alone, _ = self._read(path, 0, 1, 50, sample=0.5)
        assert _ids(batches)[: len(_ids(alone))] == _ids(alone)
        assert 0 < len(bad) < 50

    def test_fail(self, path):
        """By default it is an error that names file and row group."""
        with pytest.raises(DataLossError, match=f"^{path} is .* row group 1 cannot be read"):
            self._read(path, on_error="fail")

    def test_more_rows_than_can_be_listed(self, path, monkeypatch):
        """What would take too much memory fails the unit."""
        monkeypatch.setattr(read_unit_module, "_MAX_LOST_ROWS", 49)
        with pytest.raises(DataLossError, match="its 50 rows are more than the 49 that"):
            self._read(path)


class TestGzipIsTold:
    def test_a_first_record_whose_length_looks_like_gzip(self, tmp_path):
        """A plain file whose first eight bytes have their checksum behind them is plain."""
        columns = {"id": [7], "x": [b""]}
        path = tmp_path / "a.tfrecord"
        for num_bytes in range(35_500, 35_616):
            write_tfrecord(columns | {"x": [b"x" * num_bytes]}, path)
            if path.read_bytes().startswith(b"\x1f\x8b"):
                break
        assert path.read_bytes().startswith(b"\x1f\x8b")
        assert _ids(_read([str(path)], _OPTIONS)) == [7]
        long = tmp_path / "long.tfrecord"
        long.write_bytes(path.read_bytes() * 40)
        assert _ids(_read([str(long)], _OPTIONS)) == [7] * 40


class TestTimes:
    @pytest.fixture(name="clock")
    def _clock(self):
        return FakeClock()

    def _secs(self, path, clock, **options):
        """Returns the seconds by stage of reading ten rows, which are used slowly."""
        times = StageTimes(clock.now)
        part = UnitRange(
            file_index=0, first_group=0, end_group=1, first_row=0, num_rows=10, size_bytes=1
        )
        unit = Unit(index=0, ranges=(part,))
        inputs = [InputFile(path=str(path), size_bytes=1, mtime_secs=0.0)]
        read_options = replace(_OPTIONS, batch_rows=lambda: 5, **options)
        for _ in read_unit(unit, inputs, read_options, times=times):
            clock.advance(1000.0)
        return {stage: secs for stage, secs in times.secs().items() if secs}

    def test_tfrecord(self, clock, tmp_path, monkeypatch):
        """Reading records and parsing them are told apart."""
        write_tfrecord({"id": np.arange(10)}, tmp_path / "a.tfrecord")
        _slow_down(monkeypatch, clock, read_unit_module, "read_blocks", 1.0)
        _slow_down(monkeypatch, clock, tfrecord, "parse_blocks", 4.0)
        assert self._secs(tmp_path / "a.tfrecord", clock) == {"read": 1.0, "parse": 4.0}

    def test_parquet(self, clock, tmp_path, monkeypatch):
        """Decoding counts as reading: a table needs no parsing."""
        pq.write_table(pa.table({"id": range(10)}), tmp_path / "a.parquet")
        _slow_down(monkeypatch, clock, parquet, "read_rows", 1.0)
        assert self._secs(tmp_path / "a.parquet", clock, input_format="parquet") == {"read": 1.0}


def _slow_down(monkeypatch, clock, module, name, secs):
    """Lets the first item that the module's generator makes take so long."""
    generate = getattr(module, name)

    def slow(*args, **kwargs):
        items = generate(*args, **kwargs)
        first = next(items)
        clock.advance(secs)
        yield first
        yield from items

    monkeypatch.setattr(module, name, slow)

"""TFRecord input in pieces, and units made of them: together they are the input."""

import gzip

import pytest

from servable_core.errors import DataLossError
from servable_core.runtime.executor import InlineExecutor
from tests.datasets import to_examples
from tests.record_frames import frame
from transforms.formats.tfrecord_options import TFRecordOptions
from transforms.inputs import describe_inputs, find_inputs
from transforms.plan import InputFile
from transforms.read_unit import ReadOptions, read_unit
from transforms.tfrecord_pieces import tfrecord_pieces
from transforms.unit_cutting import UnitBounds, cut_units, limit_rows

_DEAD_LETTER = TFRecordOptions(on_error="dead_letter")


@pytest.fixture(name="files")
def _files(tmp_path):
    """A small file, a big one with an index beside it, a big one without, and a compressed one."""
    sizes = {"a.tfrecord": 5, "b.tfrecord": 300, "c.tfrecord": 200, "d.tfrecord.gz": 200}
    start = 0
    for name, size in sizes.items():
        frames = [frame(each) for each in to_examples({"id": range(start, start + size)})]
        content = b"".join(frames)
        (tmp_path / name).write_bytes(gzip.compress(content) if "gz" in name else content)
        if name == "b.tfrecord":
            starts = [sum(map(len, frames[:index])) for index in range(size)]
            lines = [f"{at} {len(each)}" for at, each in zip(starts, frames, strict=True)]
            (tmp_path / "b.tfrecord.index").write_text("\n".join(lines))
        start += size
    return find_inputs([str(tmp_path)])


def _pieces(files, limit=None, options=None, **bounds):
    limits = UnitBounds(**({"max_bytes": 1000} | bounds))
    options = options or TFRecordOptions()
    return tfrecord_pieces(files, limit, InlineExecutor(), limits, options)


def _read(files, pieces, bounds=None, options=None, bad=None):
    """Returns ids and sources of all units, which are read in turn."""
    description = describe_inputs(files, "tfrecord", None, options=options)
    inputs = [InputFile(path=each.path, size_bytes=each.size_bytes, mtime_secs=0) for each in files]
    read_options = ReadOptions(
        input_format="tfrecord",
        columns=("id",),
        features=tuple(description.features.values()),
        with_records=False,
        with_source=True,
        batch_rows=lambda: 16,
        tfrecord=options or TFRecordOptions(),
    )
    units = cut_units(pieces, bounds or UnitBounds(max_bytes=1000))
    bad = [] if bad is None else bad
    batches = [each for unit in units for each in read_unit(unit, inputs, read_options, bad.extend)]
    rows = [row for each in batches for row in each.columns.to_pylist()]
    return [row["id"] for row in rows], [(row["source_file"], row["source_row"]) for row in rows]


def test_an_index_is_no_input(files):
    """What lies beside a file to say where its records are is not read as one."""
    assert [each.path.rpartition("/")[2] for each in files] == [
        *("a.tfrecord", "b.tfrecord", "c.tfrecord", "d.tfrecord.gz"),
    ]


def test_all_pieces(files):
    """Every row comes once, in order, with its number in its file."""
    pieces = _pieces(files)
    by_file = [[each for each in pieces if each.file_index == index] for index in range(4)]
    assert [len(each) > 5 for each in by_file] == [False, True, True, False]
    assert sum(each.size_bytes for each in pieces) == sum(each.size_bytes for each in files)
    ids, sources = _read(files, pieces)
    assert ids == list(range(705))
    sizes = zip(files, (5, 300, 200, 200), strict=True)
    assert sources == [(file.path, row) for file, size in sizes for row in range(size)]


@pytest.mark.parametrize("limit", [1, 5, 6, 100, 305, 400, 505, 600, 705, 1000])
def test_limit(files, limit):
    """With a limit the first rows are planned, and no more."""
    pieces = list(limit_rows(_pieces(files, limit), limit))
    assert sum(each.num_rows for each in pieces) == min(limit, 705)
    assert _read(files, pieces)[0] == list(range(min(limit, 705)))


def test_units_are_not_joined_across_gaps(files):
    """Parts of one file in one unit stay apart: each knows its rows."""
    pieces = _pieces(files, max_rows=10)
    ids, _ = _read(files, pieces, UnitBounds(max_bytes=1 << 20, max_rows=1000))
    assert ids == list(range(705))


def test_damage(files, tmp_path):
    """Payloads, records and lengths that are damaged cost themselves, or fail the reading."""
    path = tmp_path / "c.tfrecord"
    frames = [bytearray(frame(each)) for each in to_examples({"id": range(305, 505)})]
    frames[20] = bytearray(frame(b"\xff\xfe"))
    frames[50][-1] ^= 1
    frames[190][0] ^= 1
    path.write_bytes(b"".join(frames))
    offsets = [sum(map(len, frames[:row])) for row in (20, 50, 190)]
    ids, sources = _read(files, _pieces(files, options=_DEAD_LETTER), None, _DEAD_LETTER, bad := [])
    good = [row for row in range(190) if row not in {20, 50}]
    assert ids == [*range(305), *(305 + row for row in good), *range(505, 705)]
    assert sources[305 : 305 + len(good)] == [(str(path), row) for row in good]
    assert [(each.source_row, each.byte_offset) for each in bad] == [
        *((20, offsets[0]), (50, offsets[1]), (190, offsets[2])),
    ]
    assert [each.stage.value for each in bad] == ["parse", "read", "read"]
    expected = f"{path} .*wrong checksum of the record at byte {offsets[1]}"
    with pytest.raises(DataLossError, match=expected):
        _read(files, _pieces(files))


def test_a_limit_counts_bad_records(files, tmp_path):
    """The first rows are the first ones of the files, be they good or bad."""
    path = tmp_path / "a.tfrecord"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    for limit in (4, 5, 6):
        pieces = limit_rows(_pieces(files, limit, _DEAD_LETTER), limit)
        ids, _ = _read(files, pieces, None, _DEAD_LETTER, bad := [])
        assert ids == [row for row in range(limit) if row != 4]
        assert len(bad) == (limit > 4)


def test_description(files):
    """Describing the input cuts it, with the bounds that units have."""
    description = describe_inputs(files, "tfrecord", None, bounds=UnitBounds(max_bytes=1000))
    assert description.pieces == _pieces(files)
    assert len(describe_inputs(files, "tfrecord", None).pieces) == 4

import pyarrow as pa
import pytest

from servable_core.errors import InternalError
from transforms.formats.prediction_log_writer import LoggedModel
from transforms.output_formats import OUTPUT_FORMATS
from transforms.storage import TEMPORARY_DIRECTORY
from transforms.write_unit import part_writers

_MODEL = LoggedModel(name="m", version=1, signature_name="s")
_ROWS = pa.record_batch({"x": pa.array([1, 2, 3])})


@pytest.fixture(name="create", params=list(OUTPUT_FORMATS))
def _create(request):
    """What makes writers, of each format."""
    return OUTPUT_FORMATS[request.param].writer_for(_MODEL)


@pytest.fixture(name="paths")
def _paths(tmp_path):
    """Two parts of two models."""
    return [str(tmp_path / f"model_name={name}" / "part") for name in "ab"]


def _files(directory):
    return [each for each in directory.rglob("*") if each.is_file()]


def test_parts_appear_together(tmp_path, paths, create):
    """No part is there while rows are written; then all are, as big as is said, and nothing else."""
    with part_writers(str(tmp_path), paths, [create, create]) as writers:
        for writer in writers:
            writer.write(_ROWS)
            writer.write(_ROWS)
        assert all(TEMPORARY_DIRECTORY in each.parts for each in _files(tmp_path))
    assert sorted(map(str, _files(tmp_path))) == sorted(paths)
    assert [each.rows for each in writers] == [6, 6]
    sizes = {each.written().size_bytes for each in writers}
    assert sizes == {each.stat().st_size for each in _files(tmp_path)}
    assert writers[0].written() == writers[1].written()


def test_a_part_without_rows_does_not_appear(tmp_path, paths, create):
    """Where all rows of a model were put aside, its part is none, and the others' are there."""
    with part_writers(str(tmp_path), paths, [create, create]) as writers:
        writers[0].write(_ROWS)
        writers[1].write(_ROWS.slice(0, 0))
    assert list(map(str, _files(tmp_path))) == paths[:1]


def test_a_part_without_rows_replaces_an_older_one(tmp_path, paths, create):
    """What an attempt that was killed behind its parts has left must not be read as rows."""
    with part_writers(str(tmp_path), paths, [create, create]) as writers:
        for writer in writers:
            writer.write(_ROWS)
    with part_writers(str(tmp_path), paths, [create, create]) as writers:
        writers[1].write(_ROWS)
    assert list(map(str, _files(tmp_path))) == paths[1:]


@pytest.mark.parametrize("num_batches", [0, 1, 2])
def test_a_failure_leaves_nothing(tmp_path, paths, create, num_batches):
    """Whenever the body fails, no part appears and no temporary file stays."""

    def write():
        with part_writers(str(tmp_path), paths, [create, create]) as writers:
            for _ in range(num_batches):
                writers[0].write(_ROWS)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    assert _files(tmp_path) == []


def test_a_writer_that_fails_leaves_nothing(tmp_path, paths, create):
    """Nor does a part appear beside one whose rows were refused."""

    def write():
        with part_writers(str(tmp_path), paths, [create, create]) as writers:
            for writer in writers:
                writer.write(_ROWS)
            writers[1].write(pa.record_batch({"x": [0.5]}))

    with pytest.raises(InternalError, match="x was int64, is double"):
        write()
    assert _files(tmp_path) == []


class _Failing:
    """A writer that cannot be closed, and remembers that it was abandoned."""

    rows = 1
    is_abandoned = False

    def close(self):
        raise OSError("no space left")

    def abandon(self):
        self.is_abandoned = True


def test_a_close_that_fails_leaves_nothing(tmp_path, paths, create):
    """Nor beside one that could not be written to its end; writers are told to give up."""
    failing = _Failing()

    def write():
        with part_writers(str(tmp_path), paths, [create, lambda _: failing]) as writers:
            writers[0].write(_ROWS)

    with pytest.raises(OSError, match="no space left"):
        write()
    assert _files(tmp_path) == []
    assert failing.is_abandoned

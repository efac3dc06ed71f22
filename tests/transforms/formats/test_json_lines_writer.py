import json

import pandas as pd
import pyarrow as pa
import pyarrow.json as pj
import pytest

from servable_core.errors import DataLossError
from transforms.formats.json_lines_writer import count_lines, json_lines_writer
from transforms.storage import create_file

_ROWS = pa.record_batch(
    {"id": pa.array([1, 2, 3]), "s": ["a\n", 'b"', "ç"], "x": pa.array([[1.0, 2.5], [], [3.0]])}
)


@pytest.fixture(name="path")
def _path(tmp_path):
    """Three rows in two batches."""
    path = tmp_path / "a.jsonl"
    with create_file(str(tmp_path), str(path)) as sink:
        writer = json_lines_writer(sink)
        writer.write(_ROWS.slice(0, 2))
        writer.write(_ROWS.slice(2))
        writer.close()
    return path


def test_one_object_a_line(path):
    """Each line is a row, in order."""
    lines = path.read_text().splitlines()
    assert [json.loads(each) for each in lines] == _ROWS.to_pylist()


def test_other_readers(path):
    """Arrow and pandas read the same rows."""
    assert pj.read_json(path).to_pylist() == _ROWS.to_pylist()
    assert pd.read_json(path, lines=True).to_dict("records") == _ROWS.to_pylist()


def test_count(path):
    """Lines are counted; text with line ends in it does not mislead."""
    assert count_lines(str(path)) == 3
    path.write_bytes(b"")
    assert count_lines(str(path)) == 0


def test_count_of_a_file_that_was_cut_off(path):
    """A last line without an end is not taken for a row."""
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(DataLossError, match="ends within line 3"):
        count_lines(str(path))

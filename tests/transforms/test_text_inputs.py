import gzip
import json
from dataclasses import replace

import pyarrow as pa
import pytest

from servable_core.errors import DataLossError, InvalidArgumentError, NotFoundError
from tests import memory_file_system as memory
from transforms.formats.json_lines import read_batches
from transforms.inputs import describe_inputs, find_inputs
from transforms.text_ranges import read_text_range
from transforms.unit_cutting import UnitBounds, cut_units, limit_rows


@pytest.fixture(name="write")
def _write(tmp_path):
    def write(suffix, *contents):
        for index, content in enumerate(contents):
            stored = content.encode() if isinstance(content, str) else content
            (tmp_path / f"{index}{suffix}").write_bytes(stored)
        return find_inputs([str(tmp_path)])

    return write


def _types(description):
    return {name: each.value_type for name, each in description.features.items()}


def _pieces(description):
    return [(each.file_index, each.first_row, each.num_rows) for each in description.pieces]


class TestCsv:
    def test_files_agree_on_types(self, write):
        """A column has one type in all files, so that their rows share batches."""
        files = write(".csv", "a,b,c\n1,x,\n", "a,b,c\n1.5,2,\n")
        description = describe_inputs(files, "csv", None)
        assert _types(description) == {"a": pa.float64(), "b": pa.string(), "c": pa.string()}
        (schema,) = description.schemas
        assert dict(zip(schema.names, schema.types, strict=True)) == _types(description)
        assert not description.has_records

    def test_other_columns(self, write):
        """Files with other columns have schemas of their own, which are bound each."""
        description = describe_inputs(
            write(".csv", "a,b\n1,2\n", "b,a\n1,2\n", "a\n1\n"), "csv", None
        )
        assert [each.names for each in description.schemas] == [["a", "b"], ["b", "a"], ["a"]]

    def test_pieces_are_files(self, write):
        """A file is read whole; one with a header alone is not."""
        files = write(
            ".csv.gz", *(gzip.compress(each) for each in (b"a\n1\n", b"a\n", b"a\nx,\n2\n"))
        )
        assert _pieces(describe_inputs(files, "csv", None)) == [(0, 0, -1), (2, 0, -1)]

    @pytest.mark.parametrize(
        ("limit", "expected"),
        [(1, [(0, 1)]), (2, [(0, 2)]), (4, [(0, 2), (2, 2)]), (9, [(0, 2), (2, 3)])],
    )
    def test_limit_counts_rows(self, write, limit, expected):
        """With a limit just enough rows are counted, bad ones among them."""
        files = write(".csv", "a\n1\n1,2\n", "a\n", "a\n1\n2\n3\n")
        pieces = describe_inputs(files, "csv", limit).pieces
        assert [(each.file_index, each.num_rows) for each in pieces] == expected

    def test_no_rows(self, write):
        """Headers are no rows."""
        with pytest.raises(NotFoundError, match="--input has no rows"):
            describe_inputs(write(".csv", "a\n", "b\n"), "csv", None)


def _lines(count):
    return "".join(json.dumps({"a": row}) + "\n" for row in range(count))


class TestJsonLines:
    def test_keys_of_all_files(self, write):
        """Files have the keys of all of them, since any line may lack one."""
        files = write(".jsonl", '{"a": 1}\n', '{"b": [1]}\n{"a": null}\n', '{"a": 1.5, "b": []}\n')
        description = describe_inputs(files, "jsonl", None)
        assert _types(description) == {"a": pa.float64(), "b": pa.list_(pa.int64())}
        assert len(description.schemas) == 1

    def test_types_that_disagree(self, write):
        """A key with numbers here and text there is an error that names both files."""
        files = write(".jsonl", '{"a": 1}\n', '{"a": "x"}\n')
        with pytest.raises(
            InvalidArgumentError, match=r"'a' is int64 in .*0\.jsonl and string in .*1"
        ):
            describe_inputs(files, "jsonl", None)

    def test_large_files_are_cut(self, write):
        """Ranges of a large file have all its rows between them, whatever units they go to."""
        files = write(".jsonl", _lines(1000), _lines(3), "\n", _lines(500))
        bounds = UnitBounds(max_bytes=2000)
        description = describe_inputs(files, "jsonl", None, bounds=bounds)
        first = [each for each in description.pieces if each.file_index == 0]
        assert len(first) > files[0].size_bytes / 2000 - 2
        units = cut_units(description.pieces, UnitBounds(max_bytes=3000))
        read = []
        for each in (each for unit in units for each in unit.ranges):
            for batch in read_batches(
                files[each.file_index].path,
                pa.schema([("a", pa.int64())]),
                first_byte=each.first_byte,
                end_byte=None if each.end_byte < 0 else each.end_byte,
                first_row=each.first_row,
                num_rows=None if each.num_rows < 0 else each.num_rows,
            ):
                read += [(each.file_index, row) for row in batch.columns["a"].to_pylist()]
        counts = [(0, 1000), (1, 3), (3, 500)]
        assert read == [(index, row) for index, count in counts for row in range(count)]

    def test_remote_and_compressed_files_are_whole(self, write):
        """What cannot be entered in the middle, or would have to be fetched for it, is not cut."""
        bounds = UnitBounds(max_bytes=50)
        files = write(".jsonl.gz", gzip.compress(_lines(1000).encode()))
        assert _pieces(describe_inputs(files, "jsonl", None, bounds=bounds)) == [(0, 0, -1)]
        memory.clear()
        memory.put("mem://bucket/a.jsonl", _lines(1000).encode())
        files = find_inputs(["mem://bucket/a.jsonl"])
        assert _pieces(describe_inputs(files, "jsonl", None, bounds=bounds)) == [(0, 0, -1)]
        memory.clear()

    def test_limit(self, write):
        """The first rows are the same, cut or not."""
        files = write(".jsonl", _lines(100), "\n\n", _lines(5))
        for max_bytes in (64 << 20, 100):
            bounds = UnitBounds(max_bytes=max_bytes)
            pieces = describe_inputs(files, "jsonl", 103, bounds=bounds).pieces
            pieces = list(limit_rows(pieces, 103))
            assert sum(each.num_rows for each in pieces if each.file_index == 0) == 100
            assert sum(each.num_rows for each in pieces if each.file_index == 2) == 3

    def test_no_rows(self, write):
        """Blank lines are no rows."""
        with pytest.raises(NotFoundError, match="--input has no rows"):
            describe_inputs(write(".jsonl", "\n", " \n"), "jsonl", None)


class TestReadRange:
    @pytest.mark.parametrize("input_format", ["csv", "jsonl"])
    def test_rows_that_are_gone(self, write, input_format):
        """A file that has fewer rows than were planned is an error, bad rows counted."""
        content = "a\n1\n1,2\n3\n" if input_format == "csv" else '{"a": 1}\n{\n{"a": 3}\n'
        (file,) = write(f".{input_format}", content)
        schema = pa.schema([("a", pa.int64())])
        piece = describe_inputs([file], input_format, 9).pieces[0]
        assert piece.num_rows == 3
        (batch,) = read_text_range(file.path, piece, input_format, schema, "dead_letter")
        assert (batch.num_rows, len(batch.bad_records)) == (2, 1)
        with pytest.raises(DataLossError, match="gave 3 rows where 4 were planned"):
            list(
                read_text_range(
                    file.path, replace(piece, num_rows=4), input_format, schema, "dead_letter"
                )
            )

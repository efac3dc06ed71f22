import csv
import gzip
import io
import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servable_core.errors import DataLossError, InvalidArgumentError
from tests import memory_file_system as memory
from transforms.bad_records import Stage
from transforms.formats import csv_files
from transforms.formats.csv_files import count_rows, read_batches, read_schema

_INT, _FLOAT, _TEXT = pa.int64(), pa.float64(), pa.string()


@pytest.fixture(name="write")
def _write(tmp_path):
    def write(content, name="a.csv"):
        content = content.encode() if isinstance(content, str) else content
        (tmp_path / name).write_bytes(content)
        return str(tmp_path / name)

    return write


def _schema(**types):
    return pa.schema(list(types.items()))


def _rows(path, schema, **kwargs):
    """Returns the good rows, their numbers, and the bad records."""
    batches = list(read_batches(path, schema, **kwargs))
    rows = [row for each in batches for row in each.columns.to_pylist()]
    numbers = [
        row
        for batch in batches
        for each in batch.origins
        for row in range(each.first_row, each.first_row + each.num_rows)
    ]
    assert {each.path for batch in batches for each in batch.origins} <= {path}
    return rows, numbers, [bad for each in batches for bad in each.bad_records]


class TestSchema:
    def test_types(self, write):
        """Types are those of the first rows' values; times stay text."""
        path = write(
            "i,f,b,s,n,d,t,e\n1,2.5,true,x,,2020-01-01,2020-01-01 10:00:00,\n-3,1,false,,,,,\n"
        )
        schema = _schema(i=_INT, f=_FLOAT, b=pa.bool_(), s=_TEXT, n=pa.null(), d=_TEXT, t=_TEXT)
        assert read_schema(path).equals(schema.append(pa.field("e", pa.null())))

    def test_no_utf8(self, write):
        """Text in another encoding is bytes."""
        assert read_schema(write(b"a\n\xff\n")).equals(_schema(a=pa.binary()))

    @pytest.mark.parametrize("content", ["a,b\n", "\ufeffa,b\r\n\r\n"])
    def test_header_only(self, write, content):
        """A file with a header alone has columns, but no rows."""
        path = write(content)
        assert read_schema(path).names == ["a", "b"]
        assert count_rows(path, 10) == 0
        assert _rows(path, _schema(a=_INT)) == ([], [], [])

    @pytest.mark.parametrize("content", ["", "\n\n", "\ufeff"])
    def test_empty(self, write, content):
        """A file without a header is no CSV."""
        with pytest.raises(
            DataLossError, match=r"cannot be read as CSV: .*must have a header line"
        ):
            read_schema(write(content))

    @pytest.mark.parametrize(
        "content", [b"PAR1\0\0\xff\n,,\n", b"PAR1\x15\x04\n", "a\n1\n".encode("utf-16")]
    )
    def test_binary(self, write, content):
        """Data in a binary format, or in UTF-16, are no CSV."""
        with pytest.raises(DataLossError, match="it is binary, or not UTF-8"):
            read_schema(write(content))

    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            (["1", "oops", "3"], _INT),
            (["1", "2.5", "x", "", "", ""], _FLOAT),
            (["1", "x", "y"], _TEXT),
            (["1", "x"], _TEXT),
            ([" 7 ", "1e5", "-.5", "nan", "1e"], _FLOAT),
            (["", ""], pa.null()),
            (["99999999999999999999", "1", "x"], _FLOAT),
            (["true", "false", "x"], _TEXT),
        ],
    )
    def test_wanted_numbers(self, write, values, expected):
        """Where numbers are wanted, most values decide; elsewhere one text makes all text."""
        lines = "".join(f"{each},{each},0\n" for each in values)
        path = write("a,b,c\n" + lines)
        guessed = read_schema(path).field("b").type
        schema = _schema(a=expected, b=guessed, c=_INT)
        assert read_schema(path, "dead_letter", {"a", "z"}).equals(schema)

    def test_wanted_numbers_that_are_not_utf8(self, write):
        """These are no numbers either."""
        path = write(b"a\n1\n\xff\nx\n2\n3\n")
        assert read_schema(path).equals(_schema(a=pa.binary()))
        assert read_schema(path, "dead_letter", {"a"}).equals(_schema(a=_INT))

    def test_binary_in_a_later_line(self, write):
        """What was never written is damage to its row."""
        path = write(b"a,b\n1,x\n2,\0\0\0\n\0\0\0\0\n4,y\n")
        assert read_schema(path).equals(_schema(a=_INT, b=_TEXT))
        _, numbers, bad = _rows(path, _schema(a=_INT, b=_TEXT), on_error="dead_letter")
        assert numbers == [0, 1, 3]
        assert [(each.source_row, each.record) for each in bad] == [(2, b"\0\0\0\0")]

    def test_missing_file(self, tmp_path):
        """What the operating system says is passed on: it may pass by itself."""
        with pytest.raises(FileNotFoundError):
            read_schema(str(tmp_path / "nothing.csv"))


class TestRows:
    @pytest.mark.parametrize(
        "content",
        [
            "a,b\n1,x\n2,y\n",
            "a,b\n1,x\n2,y",
            "a,b\r\n1,x\r\n2,y\r\n",
            "\ufeffa,b\n1,x\n2,y\n",
            'b,a\n"x","1"\ny,2\n',
            "\na,c,b\n\n1,?,x\n\n\n2,,y\n\n",
            "a,b\n 1,x\n2 ,y\n",
        ],
    )
    def test_ways_to_write_it(self, write, content):
        """Byte order marks, line ends, blank lines, quotes and more columns change nothing."""
        rows, numbers, _ = _rows(write(content), _schema(b=_TEXT, a=_INT))
        assert rows == [{"b": "x", "a": 1}, {"b": "y", "a": 2}]
        assert numbers == [0, 1]

    def test_quoted_fields(self, write):
        """Quotes hold commas, newlines and quotes, and count as one row."""
        path = write('a,b\n"x,\n""y"" ü",1\n"\r\n",2\n')
        rows, numbers, _ = _rows(path, _schema(a=_TEXT, b=_INT))
        assert [each["a"] for each in rows] == ['x,\n"y" ü', "\r\n"]
        assert numbers == [0, 1]

    def test_nulls(self, write):
        """Empty fields are nulls, but empty texts in a column of text."""
        path = write('i,f,b,s\n,,,\n ,,,""\n')
        null = {"i": None, "f": None, "b": None, "s": ""}
        rows, _, _ = _rows(path, _schema(i=_INT, f=_FLOAT, b=pa.bool_(), s=_TEXT))
        assert rows == [null, null]

    def test_numbers(self, write):
        """Whole numbers are read as fractions where the plan says so; nan and inf are values."""
        rows, _, _ = _rows(write("f\n1\nnan\n-inf\n1e3\n"), _schema(f=_FLOAT))
        np.testing.assert_array_equal([each["f"] for each in rows], [1, np.nan, -np.inf, 1000])

    def test_no_columns(self, write):
        """Rows are counted when nothing of them is wanted."""
        (batch,) = read_batches(write("a,a\n1,x\n2,y\n"), pa.schema([]))
        assert (batch.num_rows, batch.columns.num_columns) == (2, 0)

    @pytest.mark.parametrize("num_rows", [1, 3])
    @pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "b.csv"])
    def test_limit(self, write, num_rows, name):
        """No more rows come than are wanted, compressed by content or not."""
        content = b"a\n" + b"".join(b"%d\n" % row for row in range(9))
        path = write(content if name == "a.csv" else gzip.compress(content), name)
        rows, numbers, _ = _rows(path, _schema(a=_INT), num_rows=num_rows)
        assert [each["a"] for each in rows] == numbers == list(range(num_rows))
        assert count_rows(path, num_rows) == num_rows
        assert count_rows(path, 100) == 9

    def test_many_blocks(self, write):
        """Rows of a file of several blocks are numbered through, and its bytes are counted once."""
        text = "x" * 1000
        path = write("a,s\n" + "".join(f"{row},{text}\n" for row in range(10_000)))
        batches = list(read_batches(path, _schema(a=_INT)))
        assert len(batches) > 1
        assert np.concatenate([each.columns["a"] for each in batches]).tolist() == list(
            range(10_000)
        )
        firsts = [each.origins[0].first_row for each in batches]
        assert firsts == np.cumsum([0, *(each.num_rows for each in batches)])[:-1].tolist()
        assert sum(each.input_bytes for each in batches) == pytest.approx(10_070_000, rel=0.01)

    @pytest.mark.parametrize("sign", ["x", "é", "€"])
    def test_any_length_of_file_and_lines(self, write, monkeypatch, sign):
        """Wherever blocks are cut: no row is taken for half a row."""
        monkeypatch.setattr(csv_files, "_BLOCK_BYTES", 1000)
        for num_rows in range(95, 105):
            texts = [sign * (row * 7 % 90) for row in range(num_rows)]
            path = write("a,s\n" + "".join(f"{row},{text}\n" for row, text in enumerate(texts)))
            rows, numbers, _ = _rows(path, _schema(a=_INT, s=_TEXT))
            assert [each["s"] for each in rows] == texts
            assert numbers == list(range(num_rows))

    def test_remote(self, write):
        """Files in any store are read alike."""
        memory.clear()
        for name, content in (("a.csv", b"a\n1\n"), ("b.csv.gz", gzip.compress(b"a\n1\n"))):
            memory.put(f"mem://bucket/{name}", content)
            assert read_schema(f"mem://bucket/{name}").names == ["a"]
            assert _rows(f"mem://bucket/{name}", _schema(a=_INT))[0] == [{"a": 1}]
        memory.clear()

    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.tuples(st.text(max_size=5), st.integers(-(2**63), 2**63 - 1)), max_size=20))
    def test_any_text(self, tmp_path_factory, values):
        """Any text comes back that Python's writer has quoted as needed."""
        values = [(text.replace("\0", ""), number) for text, number in values]
        text = io.StringIO(newline="")
        csv.writer(text).writerows([("s", "i"), *values])
        path = tmp_path_factory.mktemp("csv") / "a.csv"
        path.write_bytes(text.getvalue().encode("utf-8"))
        rows, _, _ = _rows(str(path), _schema(s=_TEXT, i=_INT))
        assert [(each["s"], each["i"]) for each in rows] == values


class TestBadRows:
    CONTENT = "a,b\n0,x\n1\n2,y\n3,y,z\noops,y\n5,\n6\n"

    def test_reported(self, write):
        """Rows that are malformed, or not of their types, are told apart from the good ones."""
        rows, numbers, bad = _rows(
            write(self.CONTENT), _schema(a=_INT, b=_TEXT), on_error="dead_letter"
        )
        assert [each["a"] for each in rows] == numbers == [0, 2, 5]
        told = {each.source_row: each for each in bad}
        assert sorted(told) == [1, 3, 4, 6]
        assert told[1].message == "it has 1 fields, but the header has 2"
        assert (told[3].record, told[6].record) == (b"3,y,z", b"6")
        assert "column 'a'" in told[4].message
        assert "'oops'" in told[4].message
        assert told[4].record == b'{"a": "oops", "b": "y"}'
        assert {each.stage for each in bad} == {Stage.PARSE}

    @pytest.mark.parametrize("num_rows", range(1, 9))
    def test_limit(self, write, num_rows):
        """Bad rows count among those that are wanted, and none behind them is told."""
        _, numbers, bad = _rows(
            write(self.CONTENT), _schema(a=_INT), on_error="dead_letter", num_rows=num_rows
        )
        seen = sorted([*numbers, *(each.source_row for each in bad)])
        assert seen == list(range(min(num_rows, 7)))

    def test_error(self, write):
        """By default the first bad row is an error that names it."""
        path = write(self.CONTENT)
        with pytest.raises(InvalidArgumentError, match=f"^row 1 of {path}: it has 1 fields"):
            _rows(path, _schema(a=_INT))
        assert _rows(path, _schema(a=_INT), num_rows=1)[1] == [0]

    def test_later_blocks(self, write):
        """A value of another type is found in any block, with its row."""
        lines = [f"{row},{'x' * 1000}\n" for row in range(10_000)]
        lines[9000] = "1.5,x\n"
        lines[9001] = "1\n"
        path = write("a,s\n" + "".join(lines))
        assert read_schema(path).field("a").type == _INT
        with pytest.raises(
            InvalidArgumentError, match=rf"row 9000 of {path}: column 'a': .*'1\.5'"
        ):
            _rows(path, _schema(a=_INT))
        _, numbers, bad = _rows(path, _schema(a=_INT), on_error="dead_letter")
        assert [each.source_row for each in bad] == [9001, 9000]
        assert numbers == [row for row in range(10_000) if row not in (9000, 9001)]

    def test_all_bad(self, write):
        """A file without one good row has bad records only."""
        rows, _, bad = _rows(write("a\nx\ny\n"), _schema(a=_INT), on_error="dead_letter")
        assert rows == []
        assert [each.source_row for each in bad] == [0, 1]

    def test_no_utf8(self, write):
        """Bytes that are no text are bad in a column of text, and fine in one of bytes."""
        path = write(b"a\nx\n\xff\n")
        _, numbers, bad = _rows(path, _schema(a=_TEXT), on_error="dead_letter")
        assert (numbers, bad[0].source_row) == ([0], 1)
        assert _rows(path, _schema(a=pa.binary()))[0][1] == {"a": b"\xff"}


class TestNoUtf8:
    """Bytes that are no text cost the row that they are in, and no other."""

    def test_in_a_row_with_too_many_fields(self, write):
        """Such a row is bad as any other; its record has the bytes of the file."""
        path = write(b"a,b\n1,x\n\xff\xfe,y,z\n3,w\n")
        assert read_schema(path).equals(_schema(a=_INT, b=_TEXT))
        rows, numbers, bad = _rows(path, _schema(a=_INT, b=_TEXT), on_error="dead_letter")
        assert rows == [{"a": 1, "b": "x"}, {"a": 3, "b": "w"}]
        assert numbers == [0, 2]
        assert [(each.source_row, each.record) for each in bad] == [(1, b"\xff\xfe,y,z")]
        with pytest.raises(InvalidArgumentError, match=f"^row 1 of {path}: it has 3 fields"):
            _rows(path, _schema(a=_INT))

    def test_in_a_number(self, write):
        """The other values tell the type of the column."""
        path = write(b"a,f,t,b\n1,1.5,true,x\n2,\x80,f\xe9,y\n3\xff,2,false,z\n")
        schema = _schema(a=_INT, f=_FLOAT, t=pa.bool_(), b=_TEXT)
        assert read_schema(path).equals(schema)
        rows, numbers, bad = _rows(path, schema, on_error="dead_letter")
        assert rows == [{"a": 1, "f": 1.5, "t": True, "b": "x"}]
        assert numbers == [0]
        assert [each.source_row for each in bad] == [1, 2]
        assert json.loads(bad[1].record) == {
            "a": {"b64": "M/8="},
            "f": "2",
            "t": "false",
            "b": "z",
        }

    def test_text_beside_it_stays_as_it_was(self, write):
        """What stands in for such bytes on the way is told from the same characters in a file."""
        text = "\U0010fe80\U0010feff ü"
        path = write(f"a,b\n1,{text}\n".encode() + b"2,\xff\n3,y,z\xff\n")
        assert read_schema(path).equals(_schema(a=_INT, b=pa.binary()))
        rows, _, bad = _rows(path, _schema(a=_INT, b=pa.binary()), on_error="dead_letter")
        assert rows == [{"a": 1, "b": text.encode()}, {"a": 2, "b": b"\xff"}]
        assert bad[0].record == b"3,y,z\xff"
        rows, _, bad = _rows(path, _schema(a=_INT, b=_TEXT), on_error="dead_letter")
        assert rows == [{"a": 1, "b": text}]
        assert [each.source_row for each in bad] == [1, 2]

    def test_in_later_blocks(self, write):
        """Wherever the reader cuts its blocks, also within a character."""
        lines = [f"{row},{'é' * 500}\n".encode() for row in range(10_000)]
        lines[9000] = b"9000,\xc3\n"
        lines[9001] = b"\xc3,\xc3,\xc3\n"
        path = write(b"a,s\n" + b"".join(lines))
        _, numbers, bad = _rows(path, _schema(a=_INT, s=_TEXT), on_error="dead_letter")
        assert sorted(each.source_row for each in bad) == [9000, 9001]
        assert numbers == [row for row in range(10_000) if row not in (9000, 9001)]

    def test_in_the_header(self, write):
        """Columns must have names."""
        with pytest.raises(DataLossError, match="its header is not UTF-8"):
            read_schema(write(b"a\xff,b\n1,2\n"))


class TestDamage:
    def test_missing_column(self, write):
        """A file that lacks a column has changed, or is another one."""
        with pytest.raises(DataLossError, match="Column 'z'"):
            _rows(write("a\n1\n"), _schema(z=_INT))

    @pytest.mark.parametrize("keep", [-1, -8, 30])
    def test_truncated_gzip(self, write, keep):
        """A compressed file that is cut off is no shorter file."""
        content = gzip.compress(b"a\n" + b"".join(b"%d\n" % row for row in range(9999)))
        path = write(content[:keep], "a.csv.gz")
        with pytest.raises(DataLossError, match=f"{path} is compressed, and damaged or cut off"):
            _rows(path, _schema(a=_INT))

    def test_open_quote(self, write):
        """A quote that is never closed is an error, not a row of half a file."""
        path = write('a\n"' + "1\n" * 5_000_000)
        with pytest.raises(DataLossError, match="a row is longer than 4 MiB; is a quote never"):
            _rows(path, _schema(a=_INT))

    def test_an_open_quote_among_the_first_rows(self, write):
        """The rows before it tell the types."""
        path = write('a,b\n1,x\n2,"y\n' + "3,z\n" * 1_000_000)
        assert read_schema(path).equals(_schema(a=_INT, b=_TEXT))

    def test_small_compressed_files(self, write):
        """Of these, too, all that stands before the damage is read."""
        content = gzip.compress(b"a\n" + b"".join(b"%d\n" % (row**3) for row in range(9999)))
        path = write(content[: len(content) // 2], "a.csv.gz")
        with pytest.raises(DataLossError, match="damaged or cut off"):
            read_schema(path)
        assert read_schema(path, "dead_letter").equals(_schema(a=_INT))
        rows, numbers, bad = _rows(path, _schema(a=_INT), on_error="dead_letter")
        assert [each["a"] for each in rows[:-1]] == [row**3 for row in numbers[:-1]]
        assert 3000 < len(rows) < 9000
        assert [each.source_row for each in bad] == [len(rows)]

    @pytest.mark.parametrize("compressed", [False, True])
    def test_what_lies_behind_is_one_bad_record(self, write, compressed):
        """With dead letters, rows before an open quote, or the end of half a file, are delivered."""
        rows = [b"%d\n" % row for row in range(2_000_000)]
        content = b"a\n" + b"".join(rows)
        if compressed:
            path = write(gzip.compress(content, 1)[:-1_000_000], "a.csv.gz")
        else:
            path = write(content + b'"' + b"1\n" * 5_000_000)
        _, numbers, bad = _rows(path, _schema(a=_INT), on_error="dead_letter")
        assert len(numbers) > 500_000
        assert numbers == list(range(len(numbers)))
        assert [(each.source_row, each.stage) for each in bad] == [(len(numbers), Stage.READ)]
        assert "all behind it cannot be read" in bad[0].message
        assert count_rows(path, 10**9) == len(numbers) + 1
        assert count_rows(path, 10) == 10

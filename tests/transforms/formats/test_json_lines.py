import gzip
import json
from unittest import mock

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servable_core.errors import DataLossError, InvalidArgumentError
from tests import memory_file_system as memory
from transforms.bad_records import Stage
from transforms.formats import json_lines
from transforms.formats.json_depth import is_nested_deeper
from transforms.formats.json_lines import count_rows, cut_lines, read_batches, read_schema

_INT, _FLOAT, _TEXT = pa.int64(), pa.float64(), pa.string()


@pytest.fixture(name="write")
def _write(tmp_path):
    def write(content, name="a.jsonl"):
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
        """Keys of all first lines are columns; times stay text."""
        path = write(
            '{"i": 1, "f": 1, "s": "2020-01-01T00:00:00Z", "n": null}\n'
            '{"f": 1.5, "l": [[1], []], "o": {"x": 1}, "b": true, "t": ["2020-01-01"]}\n'
        )
        lists = pa.list_(pa.list_(_INT))
        expected = _schema(i=_INT, f=_FLOAT, s=_TEXT, n=pa.null(), l=lists)
        schema = read_schema(path)
        assert pa.schema(list(schema)[:5]).equals(expected)
        assert schema.field("b").type == pa.bool_()
        assert schema.field("t").type == pa.list_(_TEXT)

    def test_most_lines_decide(self, write):
        """A bad line among the first ones decides nothing."""
        path = write('{"a": "x", "b": 1}\nwhat?\n' + '{"a": 1}\n' * 5 + '{"a": 1.5}\n')
        assert read_schema(path).equals(_schema(a=_FLOAT, b=_INT))

    @pytest.mark.parametrize("content", ["", "\n \n"])
    def test_empty(self, write, content):
        """A file without lines has no columns and no rows."""
        path = write(content)
        assert read_schema(path).names == []
        assert _rows(path, _schema(a=_INT))[0] == []

    @pytest.mark.parametrize(
        "content", ['[{"a": 1},\n{"a": 2}]', "a,b\n1,2\n", "1\n", b"\xff\xfe{"]
    )
    def test_other_formats(self, write, content):
        """A file without one good line is no JSON Lines."""
        with pytest.raises(DataLossError, match=r"cannot be read as JSON Lines: .*on each line"):
            read_schema(write(content))


class TestRows:
    @pytest.mark.parametrize(
        "content",
        [
            '{"a": 1, "b": "x"}\n{"a": 2, "b": "ü"}\n',
            '{"b": "x", "a": 1}\r\n{"a": 2, "b": "\\u00fc"}',
            '\ufeff{"a": 1, "b": "x"}\n{"a": 2, "b": "ü"}\n',
            '\n{"a": 1, "b": "x", "c": [{}]}\n \t\r\n\n {"c": 1, "a": 2, "b": "ü"} \n',
        ],
    )
    def test_ways_to_write_it(self, write, content):
        """Byte order marks, line ends, blank lines, the order of keys and more keys change nothing."""
        rows, numbers, _ = _rows(write(content), _schema(b=_TEXT, a=_INT))
        assert rows == [{"b": "x", "a": 1}, {"b": "ü", "a": 2}]
        assert numbers == [0, 1]

    def test_nulls(self, write):
        """A key that is missing is as a null; an empty text is a text."""
        rows, _, _ = _rows(write('{"a": null}\n{}\n{"s": ""}\n'), _schema(a=_INT, s=_TEXT))
        assert [list(each.values()) for each in rows] == [[None, None], [None, None], [None, ""]]

    def test_lists(self, write):
        """Lists of any length and depth are read; whole numbers as fractions, if so planned."""
        path = write('{"a": [[1, 2.5], []]}\n{"a": null}\n{"a": [[null]]}\n')
        rows, _, _ = _rows(path, _schema(a=pa.list_(pa.list_(_FLOAT))))
        assert [each["a"] for each in rows] == [[[1.0, 2.5], []], None, [[None]]]

    def test_no_columns(self, write):
        """Rows are counted when nothing of them is wanted."""
        (batch,) = read_batches(write('{"a": 1}\n{}\n'), pa.schema([]))
        assert (batch.num_rows, batch.columns.num_columns) == (2, 0)

    @pytest.mark.parametrize("num_rows", [1, 3])
    @pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "b.jsonl"])
    def test_limit(self, write, num_rows, name):
        """No more rows come than are wanted, compressed by content or not."""
        content = b"".join(b'{"a": %d}\n\n' % row for row in range(9))
        path = write(content if name == "a.jsonl" else gzip.compress(content), name)
        rows, numbers, _ = _rows(path, _schema(a=_INT), num_rows=num_rows)
        assert [each["a"] for each in rows] == numbers == list(range(num_rows))
        assert (count_rows(path, num_rows), count_rows(path, 100)) == (num_rows, 9)

    def test_many_blocks(self, write):
        """Lines across blocks, and longer than one, are whole."""
        lengths = [10, 3_000_000, 500_000, 0, 1_200_000, 10]
        lines = [json.dumps({"a": index, "s": "x" * size}) for index, size in enumerate(lengths)]
        path = write("\n".join(lines))
        batches = list(read_batches(path, _schema(a=_INT, s=_TEXT)))
        assert len(batches) > 2
        texts = [text for each in batches for text in each.columns["s"].to_pylist()]
        assert list(map(len, texts)) == lengths
        assert sum(each.input_bytes for each in batches) == sum(map(len, lines)) + len(lines) - 1

    def test_remote(self):
        """Files in any store are read alike."""
        memory.clear()
        content = b'{"a": 1}\n'
        for name, stored in (("a.jsonl", content), ("b.jsonl.gz", gzip.compress(content))):
            memory.put(f"mem://bucket/{name}", stored)
            assert read_schema(f"mem://bucket/{name}").names == ["a"]
            assert _rows(f"mem://bucket/{name}", _schema(a=_INT))[0] == [{"a": 1}]
        memory.clear()

    def test_long_lines(self, write, monkeypatch):
        """A file without line ends is not read into memory without end."""
        monkeypatch.setattr("transforms.formats.json_lines._MAX_LINE_BYTES", 2 << 20)
        path = write('{"a": "' + "x" * (5 << 20) + '"}')
        with pytest.raises(DataLossError, match="a line longer than 2 MiB"):
            _rows(path, _schema(a=_TEXT))


_VALUES = st.fixed_dictionaries(
    {"i": st.none() | st.integers(-(2**63), 2**63 - 1), "s": st.none() | st.text(max_size=4)}
)
_LINES = st.one_of(
    _VALUES.map(lambda each: (json.dumps(each), each)),
    _VALUES.map(lambda each: (json.dumps(each, ensure_ascii=False), each)),
    st.sampled_from([("", None), (" \t", None), ("\r", None)]),
    st.sampled_from(
        [(text, "bad") for text in ("{", "[]", "7", '{"i": "x"}', '{"i": 1.5}', '{"s": 1}', "}{")]
    ),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(_LINES, max_size=12), st.integers(1, 60), st.booleans())
def test_any_lines_in_any_ranges(tmp_path_factory, lines, range_bytes, ends):
    """Good and bad lines are told apart and numbered alike, read at once or by ranges."""
    content = "\n".join(text for text, _ in lines) + ("\n" if ends else "")
    path = tmp_path_factory.mktemp("lines") / "a.jsonl"
    path.write_bytes(content.encode())
    counted = [(text, value) for text, value in lines if value is not None]
    good = {row: value for row, (_, value) in enumerate(counted) if value != "bad"}
    bad = {row: text.encode() for row, (text, value) in enumerate(counted) if value == "bad"}
    schema = _schema(i=_INT, s=_TEXT)

    def check(results):
        told = {row: value for each in results for value, row in zip(*each[:2], strict=True)}
        assert told == good
        records = [each for result in results for each in result[2]]
        assert {each.source_row: each.record for each in records} == bad
        for each in records:
            assert content.encode()[each.byte_offset :].startswith(each.record)

    check([_rows(str(path), schema, on_error="dead_letter")])
    ranges = cut_lines(str(path), range_bytes)
    assert sum(each.num_rows for each in ranges) == len(counted) == count_rows(str(path), 99)
    check(
        [
            _rows(
                str(path),
                schema,
                first_byte=each.first_byte,
                end_byte=each.end_byte,
                first_row=each.first_row,
                num_rows=each.num_rows,
                on_error="dead_letter",
            )
            for each in ranges
        ]
    )


class TestBadLines:
    CONTENT = '{"a": 0}\n{"a": 1\n\n{"a": 2}\n{"a": "x"}\n{"a": 4} {"a": 4}\n'

    def test_reported(self, write):
        """A bad line comes with its row, its bytes, where they are, and why."""
        rows, _, bad = _rows(write(self.CONTENT), _schema(a=_INT), on_error="dead_letter")
        assert [each["a"] for each in rows] == [0, 2]
        assert [each.source_row for each in bad] == [1, 3, 4]
        assert [each.record for each in bad] == [b'{"a": 1', b'{"a": "x"}', b'{"a": 4} {"a": 4}']
        assert bad[0].byte_offset == 9
        assert bad[1].message == "key 'a' is a string, where its column has int64"
        assert "one whole JSON object" in bad[2].message
        assert {each.stage for each in bad} == {Stage.PARSE}

    def test_error(self, write):
        """By default the first bad line is an error that names it."""
        path = write(self.CONTENT)
        with pytest.raises(
            InvalidArgumentError, match=rf"^row 1 of {path}: .*--on_error=dead_letter$"
        ):
            _rows(path, _schema(a=_INT))

    def test_error_in_the_words_of_arrow(self, write):
        """Its sentence becomes the beginning of ours."""
        path = write('{"a": 0.5}\n{"a": 1e999}\n')
        with pytest.raises(InvalidArgumentError, match="too big to be stored in double; mend it"):
            _rows(path, _schema(a=_FLOAT))

    @pytest.mark.parametrize(
        "content", ["null\n", "\n \tnull\n", "\ufeffnull\n", "null", '{"a": 1}\nnull\n', "nullx"]
    )
    def test_null_is_no_row(self, write, content):
        """Arrow would crash, which no error handling survives, or take it for an object."""
        path = write(content)
        _, numbers, bad = _rows(path, _schema(a=_INT), on_error="dead_letter")
        assert len(numbers) == content.count("{")
        assert [each.message for each in bad] == ["it is no object"]

    def test_null_tells_no_keys(self, write):
        """Nor does it crash who looks for them."""
        with pytest.raises(DataLossError, match="it is no object"):
            read_schema(write("null\n"))
        assert read_schema(write('null\n{"a": 1}\n')) == _schema(a=_INT)

    def test_no_utf8(self, write):
        """Bytes that are no text are bad."""
        path = write(b'{"a": "x"}\n{"a": "\xff"}\n')
        _, numbers, bad = _rows(path, _schema(a=_TEXT), on_error="dead_letter")
        assert (numbers, bad[0].message) == ([0], "it is not UTF-8")

    def test_object_on_several_lines(self, write):
        """Pretty-printed JSON is refused, although Arrow would read it: rows are lines."""
        _, numbers, bad = _rows(write('{\n"a": 1\n}\n'), _schema(a=_INT), on_error="dead_letter")
        assert (numbers, [each.source_row for each in bad]) == ([], [0, 1, 2])

    @pytest.mark.parametrize(
        "content",
        [
            b'{"a": 0} {"a": 1}\n{"a":\n2}\n{"a": 3}\n',
            b'{"a": 0} {"o":\n{"a": 1}}\n{"a": 2}{"a": 2}\r\n{"o": [\n{}]}\n{"a": 5}\n',
        ],
    )
    def test_as_many_objects_as_lines(self, write, content):
        """Two objects on a line, and one on two: their number alone does not make lines rows."""
        path = write(content)
        rows, numbers, bad = _rows(path, _schema(a=_INT), on_error="dead_letter")
        assert [each["a"] for each in rows] == numbers == [len(content.splitlines()) - 1]
        assert [each.source_row for each in bad] == list(range(numbers[0]))

    def test_every_other_line(self, write):
        """Where many lines are bad, Arrow parses each good one a few times, and the bad ones never."""
        path = write('{"a": 1}\n{"a": "x"}\n{"a": 1\n' * 5000)
        with mock.patch.object(json_lines, "_parse", wraps=json_lines._parse) as parse:
            rows, _, bad = _rows(path, _schema(a=_INT), on_error="dead_letter")
        assert (len(rows), len(bad), parse.call_count) == (5000, 10_000, 2)

    def test_types_of_many_lines_that_differ(self, write):
        """The types of most lines are found in a few attempts."""
        lines = ['{"a": 1}', '{"a": "x", "b": 1}', '{"a": 2.5}', '{"a": [1], "c": true}', "?"]
        path = write("".join(f"{each}\n" for each in lines) * 2000)
        with mock.patch.object(json_lines, "_parse", wraps=json_lines._parse) as parse:
            schema = read_schema(path)
        assert schema.equals(_schema(a=_FLOAT, b=_INT, c=pa.bool_()))
        assert parse.call_count < 10

    def test_types_of_lines_that_only_look_alike(self, write):
        """What Arrow refuses of such lines decides nothing."""
        path = write('{"a": 1}\n{"a": 1, "a": 2}\n' * 300)
        assert read_schema(path).equals(_schema(a=_INT))


def test_compressed_files_are_not_cut(write):
    """A compressed file can be read from its start only."""
    assert cut_lines(write(gzip.compress(b'{"a": 1}\n' * 9)), 10) == []


class TestCutOff:
    def test_what_lies_behind_is_one_bad_record(self, write):
        """With dead letters, rows before the end of half a compressed file are delivered."""
        content = b"".join(b'{"a": %d}\n' % row for row in range(500_000))
        path = write(gzip.compress(content, 1)[:-500_000])
        _, numbers, bad = _rows(path, _schema(a=_INT), on_error="dead_letter")
        assert len(numbers) > 50_000
        assert numbers == list(range(len(numbers)))
        assert [(each.source_row, each.stage) for each in bad] == [(len(numbers), Stage.READ)]
        with pytest.raises(DataLossError, match=f"{path} is compressed, and damaged or cut off"):
            _rows(path, _schema(a=_INT))
        assert count_rows(path, 10) == 10

    def test_a_line_too_long(self, write, monkeypatch):
        """Likewise those before a line that hardly ends."""
        monkeypatch.setattr(json_lines, "_MAX_LINE_BYTES", 3 << 20)
        path = write(b'{"a": 1}\n' * 9 + b"x" * (5 << 20))
        _, numbers, bad = _rows(path, _schema(a=_INT), on_error="dead_letter")
        assert (numbers, bad[0].source_row) == (list(range(9)), 9)
        assert count_rows(path, 100) == 10


class TestDepth:
    @pytest.mark.parametrize(
        ("text", "depth"),
        [
            ("", 0),
            ("1", 0),
            ("{}", 1),
            ('{"a": [[1], {"b": 2}]}', 3),
            ("[[\n[[[\n[", 6),
            ("[1]\n[[2]]\n[3]", 2),
            ("]]]\n[[]]", 2),
            ('["[[[[\n[["[[[[\\\\n[[', 3),
            ('{"a": "[[[[\\"[[[", "b": "}}"}\n{"[": "[[[["}', 1),
            ('{"a": ["\\\\", [1]]}', 3),
        ],
    )
    def test_brackets_in_strings_do_not_count(self, text, depth):
        """But those do that earlier lines have left open: a parser reads on behind a newline."""
        assert not is_nested_deeper(text.encode(), depth)
        assert depth == 0 or is_nested_deeper(text.encode(), depth - 1)

    @pytest.mark.parametrize("levels", [101, 20_000, 400_000])
    def test_too_deep(self, write, levels):
        """A line on which a parser would end the process is a bad one, and no other is."""
        deep = [b'{"b": ' + b"[" * levels, b'{"a":' * levels + b"1" + b"}" * levels]
        lines = [b'{"a": 0}', deep[0], b'{"a": 2, "b": ' + b"[" * 90 + b"]" * 90 + b"}", deep[1]]
        path = write(b"\n".join(lines) + b"\n")
        assert read_schema(path).field("a").type == _INT
        rows, numbers, bad = _rows(path, _schema(a=_INT), on_error="dead_letter")
        assert (rows, numbers) == ([{"a": 0}, {"a": 2}], [0, 2])
        assert {each.source_row: each.message for each in bad} == dict.fromkeys(
            (1, 3), "it is nested deeper than 100 levels"
        )

    @pytest.mark.parametrize("opening", [b'{"b":\n', b"[\n"])
    def test_too_deep_over_many_lines(self, write, opening):
        """What would end the process is many bad lines, even where each of them is short."""
        levels = 150
        lines = [b'{"a": 0}', b'{"c":', *[opening.strip()] * levels, b'{"a": 1}']
        path = write(b"\n".join(lines) + b"\n")
        assert is_nested_deeper(opening * levels, 100)
        assert read_schema(path).equals(_schema(a=_INT))
        rows, numbers, bad = _rows(path, _schema(a=_INT), on_error="dead_letter")
        assert (rows, numbers) == ([{"a": 0}, {"a": 1}], [0, levels + 2])
        assert len(bad) == levels + 1

    def test_each_string_is_looked_through_once(self):
        """One that never ends, and is nothing but quotes that do not end it, takes no longer."""
        text = b"[" * 101 + b'"' + b'\\"' * (1 << 19)
        assert is_nested_deeper(text, 100)
        assert not is_nested_deeper(text, 101)

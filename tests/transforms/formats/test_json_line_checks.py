import json

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from transforms.formats import json_lines
from transforms.formats.json_line_checks import LineChecks

_SCHEMA = pa.schema(
    [
        ("i", pa.int64()),
        ("f", pa.float64()),
        ("b", pa.bool_()),
        ("s", pa.string()),
        ("n", pa.null()),
        ("l", pa.list_(pa.list_(pa.float64()))),
        ("o", pa.struct([("x", pa.int64())])),
    ]
)
_SCALARS = ("1", "-2.5", "1e3", "true", "null", '"x"', '"\\ud800"', '"\\ud83d\\ude00"', '"\t"')
_ODD = ("NaN", "Inf", "-Infinity", "01", "9223372036854775808", "1e999", "[", "nul", '"\\x"', "\0")
_VALUES = st.recursive(
    st.sampled_from(_SCALARS + _ODD),
    lambda inner: (
        st.lists(inner, max_size=2).map(lambda each: f"[{','.join(each)}]")
        | inner.map(lambda each: f'{{"x":{each}}}')
    ),
    max_leaves=3,
)
_ROWS = st.lists(st.tuples(st.sampled_from([*_SCHEMA.names, "other"]), _VALUES), max_size=3).map(
    lambda pairs: "{" + ",".join(f'"{name}": {value}' for name, value in pairs) + "}"
)
_JUNK = st.sampled_from(["", "", "", " ", "\r", "\ufeff", "\0", "x", ",", "}", "{}", "\x0b"])
_LINES = st.tuples(_JUNK, _ROWS | st.text(max_size=4), _JUNK).map("".join)


def _is_good(line, schema):
    """Returns whether Arrow takes a line that stands by itself."""
    try:
        return json_lines._parse(line, schema).num_rows == 1
    except (pa.ArrowInvalid, UnicodeDecodeError):
        return False


@settings(max_examples=1500, deadline=None)
@given(_LINES, st.integers(0, 40), st.booleans())
@example('{"other": ' + "1" * 5000 + "}", 0, False)
@example('{"i": -9223372036854775808}', 0, False)
@example('{"i": -9223372036854775809}', 0, False)
@example('{"other": ' + "[" * 150, 0, False)
@example('{"other": "' + "[" * 150 + '"}', 0, False)
@example('{"s": "\\udc00"}', 0, False)
def test_nothing_is_refused_that_arrow_takes(line, place, spoils):
    """Whatever a line is: what is wrong here is wrong for Arrow, too."""
    content = line.encode()
    if spoils:
        content = content[:place] + b"\xff" + content[place:]
    if not content.strip() or b"\n" in content:
        return
    for schema in (_SCHEMA, None):
        if LineChecks(schema).wrong_with(content) is not None:
            assert not _is_good(content, schema)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"text", "it is no object"),
        (b"[1]", "it is no object"),
        (b'{"s": "\xff"}', "it is not UTF-8"),
        (b'{"i": 1', "it is no line with one whole JSON object: Expecting ',' delimiter at"),
        (
            b'{"s": "\t"}',
            "it is no line with one whole JSON object: Invalid control character at c",
        ),
        (b'{"i": 1} {"i": 2}', "it is no line with one whole JSON object: Extra data at"),
        (b'{"i": "1"}', "key 'i' is a string, where its column has int64"),
        (b'{"i": 1.0}', "key 'i' is a fraction, where its column has int64"),
        (b'{"i": true}', "key 'i' is a bool, where its column has int64"),
        (b'{"i": 9223372036854775808}', "key 'i' is a number out of the range of int64"),
        (b'{"l": [[1], ["x"]]}', "key 'l' has a value that has a value that is a string"),
        (b'{"n": 1}', "key 'n' is a whole number, where its column has null"),
        (b'{"s": "\\ud800"}', "it has half of a surrogate pair"),
        (b'{"z": ' + b"[" * 101, "it is nested deeper than 100 levels"),
    ],
)
def test_what_is_wrong(line, words):
    """The frequent faults are told, with the key."""
    assert LineChecks(_SCHEMA).wrong_with(line).startswith(words)
    assert not _is_good(line, _SCHEMA)


def test_good_lines():
    """Nothing is wrong with values of their types, nulls, and keys that nobody wants."""
    row = {"i": -(2**63), "f": 1, "b": False, "s": "ü", "n": None, "l": [[1, None], None, []]}
    for line in (json.dumps(row), json.dumps({"f": None, "other": [{}]}), "{}"):
        assert LineChecks(_SCHEMA).wrong_with(line.encode()) is None
        assert _is_good(line.encode(), _SCHEMA)

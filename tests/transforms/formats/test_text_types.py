import pyarrow as pa
import pytest

from servable_core.errors import InvalidArgumentError
from transforms.formats.text_types import agreed_types, common_type, type_from_text, type_to_text


def _list(data_type):
    return pa.list_(data_type)


_COMMON = [
    (pa.int64(), pa.int64(), pa.int64()),
    (pa.int64(), pa.float64(), pa.float64()),
    (pa.null(), pa.bool_(), pa.bool_()),
    (pa.null(), pa.null(), pa.null()),
    (pa.string(), pa.binary(), pa.binary()),
    (_list(pa.int64()), _list(pa.float64()), _list(pa.float64())),
    (_list(pa.null()), _list(_list(pa.int64())), _list(_list(pa.int64()))),
    (pa.int64(), pa.string(), None),
    (pa.int64(), pa.bool_(), None),
    (pa.int64(), _list(pa.int64()), None),
    (_list(pa.int64()), _list(pa.string()), None),
]


@pytest.mark.parametrize(("one", "other", "common"), _COMMON)
def test_common_type(one, other, common):
    """Two types have the narrowest that holds the values of both, in either order."""
    assert common_type(one, other) == common
    assert common_type(other, one) == common


def _described(*types):
    return [(f"/{index}", pa.schema([("a", each)])) for index, each in enumerate(types)]


def test_columns_of_all_files():
    """Columns come in the order in which the files have them."""
    described = [
        ("/0", pa.schema([("b", pa.null()), ("a", pa.int64())])),
        ("/1", pa.schema([("c", pa.bool_()), ("a", pa.float64())])),
    ]
    agreed = agreed_types(described, all_is_text=False)
    assert list(agreed.items()) == [("b", pa.null()), ("a", pa.float64()), ("c", pa.bool_())]


def test_text_holds_everything():
    """Where all values are written as text, they can be read as such."""
    assert agreed_types(_described(pa.int64(), pa.string()), all_is_text=True) == {"a": pa.string()}
    assert agreed_types(_described(pa.bool_(), pa.int64()), all_is_text=True) == {"a": pa.string()}


def test_no_agreement():
    """Elsewhere both files and types are named."""
    with pytest.raises(InvalidArgumentError, match=r"column 'a' is bool in /0 and int64 in /1"):
        agreed_types(_described(pa.bool_(), pa.int64()), all_is_text=False)


@pytest.mark.parametrize(
    "data_type",
    [
        *(pa.int64(), pa.float64(), pa.bool_(), pa.string(), pa.binary(), pa.null(), pa.float32()),
        *(_list(pa.int64()), _list(_list(pa.float64())), pa.list_(pa.float32(), 3)),
        *(pa.struct([("a", pa.int64()), ("b, c", _list(pa.string()))]), pa.timestamp("us", "UTC")),
        _list(pa.struct([])),
    ],
)
def test_texts(data_type):
    """Any type can be told in a text."""
    assert type_from_text(type_to_text(data_type)) == data_type


def test_texts_are_readable():
    """The usual types are told by their names."""
    assert type_to_text(_list(pa.int64())) == "list<item: int64>"


def test_no_type():
    """Other texts are no types."""
    with pytest.raises(ValueError, match="'list<item: x>' is no Arrow type"):
        type_from_text("list<item: x>")

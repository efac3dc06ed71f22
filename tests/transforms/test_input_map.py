import pytest

from servable_core.batching.padding import Derivation
from servable_core.errors import InvalidArgumentError
from servable_core.servables.signature import SignatureSpec, TensorSpec
from transforms.input_map import (
    ColumnSource,
    numeric_columns,
    padded_columns,
    parse_input_map,
    parse_pad_values,
    parse_renames,
)


@pytest.mark.parametrize(
    ("entry", "tensor", "columns", "stacked"),
    [
        ("x=price", "x", ("price",), False),
        (" x = price ", "x", ("price",), False),
        ("x=[a,b]", "x", ("a", "b"), True),
        ("x=[ a , b ]", "x", ("a", "b"), True),
        ("x=[a]", "x", ("a",), True),
        ("x=a=b", "x", ("a=b",), False),
        ("x=a,b", "x", ("a,b",), False),
    ],
)
def test_entries(entry, tensor, columns, stacked):
    """Only brackets make a list; a column may have any other sign in its name."""
    assert parse_input_map([entry]) == {tensor: ColumnSource(columns=columns, stacked=stacked)}


def test_several_entries():
    """Each entry feeds another input."""
    assert list(parse_input_map(["b=1", "a=2"])) == ["b", "a"]


@pytest.mark.parametrize("entry", ["", "x", "=", "x=", "=a", " =a", "x= "])
def test_malformed_entries(entry):
    """An entry needs both sides."""
    with pytest.raises(InvalidArgumentError, match="is not of the form tensor=column"):
        parse_input_map([entry])


@pytest.mark.parametrize("entry", ["x=[", "x=[]", "x=[a", "x=[a,]", "x=[,a]", "x=[a]b"])
def test_malformed_lists(entry):
    """A list is closed, and names something at each place."""
    with pytest.raises(InvalidArgumentError, match="a list of columns is written"):
        parse_input_map([entry])


def test_an_input_is_mapped_once():
    """The second entry of an input is refused."""
    with pytest.raises(InvalidArgumentError, match="names the input 'x' twice"):
        parse_input_map(["x=a", " x=b"])


@pytest.mark.parametrize(
    ("source", "column", "derivation"),
    [
        ("mask(ids)", "ids", Derivation.MASK),
        ("len(ids)", "ids", Derivation.LENGTHS),
        ("mask( ids )", "ids", Derivation.MASK),
        ("len(a(b))", "a(b)", Derivation.LENGTHS),
        ("mask", "mask", None),
        ("masks(ids)", "masks(ids)", None),
        ("mask(ids)x", "mask(ids)x", None),
        ("MASK(ids)", "MASK(ids)", None),
    ],
)
def test_derived_inputs(source, column, derivation):
    """Only `mask(...)` and `len(...)` are anything but the name of a column."""
    expected = ColumnSource(columns=(column,), stacked=False, derivation=derivation)
    assert parse_input_map([f"x={source}"]) == {"x": expected}


@pytest.mark.parametrize(
    ("source", "columns"),
    [("example(a)", ("a",)), ("example(a, b)", ("a", "b")), ("example(*)", ("*",))],
)
def test_examples(source, columns):
    """Columns that are encoded together."""
    expected = ColumnSource(columns=columns, stacked=False, as_example=True)
    assert parse_input_map([f"x={source}"]) == {"x": expected}


@pytest.mark.parametrize("source", ["example()", "example(a,)", "example( )"])
def test_examples_of_nothing(source):
    """Each feature has a name."""
    with pytest.raises(InvalidArgumentError, match="an Example of columns is written"):
        parse_input_map([f"x={source}"])


def test_padded_columns():
    """A column is padded where its mask or lengths are wanted."""
    sources = parse_input_map(["m=mask(a)", "n=len(a)", "k=len(b)", "x=c", "y=[d,e]"])
    assert padded_columns(sources) == {"a", "b"}


def test_pad_values():
    """The first `=` ends the name; a value may be empty, or have another."""
    assert parse_pad_values(["a=1", "b=", "c=x=y"]) == {"a": "1", "b": "", "c": "x=y"}


def test_renames():
    """A name keeps an output, two rename it, and the order is kept."""
    renames = parse_renames(["b=second", "a"])
    assert list(renames.items()) == [("b", "second"), ("a", "a")]


@pytest.mark.parametrize("entry", ["", "=a", "a="])
def test_malformed_renames(entry):
    """A rename needs both sides."""
    with pytest.raises(InvalidArgumentError, match="is not of the form output or output=column"):
        parse_renames([entry])


def test_an_output_is_named_once():
    """The second entry of an output is refused."""
    with pytest.raises(InvalidArgumentError, match="names the output 'a' twice"):
        parse_renames(["a", "a=b"])


def test_numeric_columns():
    """Those that feed inputs of numbers, by the input's own name or by the map."""

    def signature(**dtypes):
        inputs = tuple(
            TensorSpec(name=name, dtype=dtype, shape=(None,)) for name, dtype in dtypes.items()
        )
        return SignatureSpec(name="serving_default", inputs=inputs, outputs=())

    signatures = [
        signature(a="float32", b="string", c="bool", x="int64"),
        signature(a="float32", y="int32"),
    ]
    input_map = parse_input_map(["x=[p,q]", "y=len(r)", "b=s"])
    assert numeric_columns(signatures, input_map) == {"a", "p", "q"}

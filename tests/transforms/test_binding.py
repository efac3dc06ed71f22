import pyarrow as pa
import pytest

from servable_core.errors import InvalidArgumentError
from servable_core.servables.signature import SignatureSpec, TensorSpec
from transforms.binding import BoundInput, bind, closest, try_bind
from transforms.casts import Cast
from transforms.input_batch import RECORD_COLUMN
from transforms.input_map import parse_input_map


def _tensor(name="x", dtype="float32", shape=(None, 3)):
    return TensorSpec(name=name, dtype=dtype, shape=shape)


def _signature(*inputs):
    return SignatureSpec(name="serving_default", inputs=inputs, outputs=())


def _bind_one(tensor, column_type, *, has_records=False, input_map=()):
    """Binds one input called `x` to one column of that name; returns what came of it."""
    schema = pa.schema([pa.field("x", column_type)])
    results = try_bind(
        _signature(tensor), schema, parse_input_map(input_map), has_records=has_records
    )
    assert len(results) == 1
    return results[0]


def _vector(size, value_type=None):
    return pa.list_(value_type or pa.float32(), size)


_F32 = pa.float32()
_RAGGED = pa.list_(pa.float32())


class TestRowShapes:
    @pytest.mark.parametrize(
        ("shape", "column_type", "row_shape"),
        [
            # Scalars: a size of 1, or any size, is filled by one value.
            ((None,), _F32, ()),
            ((None, 1), _F32, (1,)),
            ((None, None), _F32, (1,)),
            ((None, 1, 1), _F32, (1, 1)),
            ((8,), _F32, ()),
            (None, _F32, ()),
            # Fixed-size lists: their values fill the row.
            ((None, 3), _vector(3), (3,)),
            ((None, None), _vector(3), (3,)),
            ((None, 2, 3), _vector(6), (2, 3)),
            ((None, 2, None), _vector(6), (2, 3)),
            ((None, None, 3), _vector(6), (2, 3)),
            ((None, 1), _vector(1), (1,)),
            ((None, 0), _vector(0), (0,)),
            (None, _vector(3), (3,)),
            # Lists whose length only the data tell: what is unknown stays so.
            ((None, None), _RAGGED, (-1,)),
            ((None, 3), _RAGGED, (3,)),
            ((None, 2, None), _RAGGED, (2, -1)),
            ((None, None), pa.large_list(pa.float32()), (-1,)),
            (None, _RAGGED, (-1,)),
        ],
    )
    def test_fits(self, shape, column_type, row_shape):
        """A column feeds every shape that its rows can take."""
        bound = _bind_one(_tensor(shape=shape), column_type)
        assert isinstance(bound, BoundInput), bound
        assert bound.row_shape == row_shape
        assert bound.columns == ("x",)
        assert bound.cast is Cast.SAME

    @pytest.mark.parametrize(
        ("shape", "column_type", "words"),
        [
            ((None, 3), _F32, "one row would be a single value"),
            ((None, 1, 2), _F32, "one row would be a single value"),
            ((None,), _vector(3), "one row would be 3 values"),
            ((None, 3), _vector(2), "one row would be 2 values"),
            ((None, 2, None), _vector(5), "one row would be 5 values"),
            ((None, 0, None), _vector(5), "one row would be 5 values"),
            ((None, None, None), _vector(6), "one row would be 6 values"),
            ((None,), _RAGGED, "one row would be a list of varying length"),
            ((None, None, None), _RAGGED, "one row would be a list of varying length"),
        ],
    )
    def test_does_not_fit(self, shape, column_type, words):
        """A shape that the rows cannot take is refused with the way out."""
        problem = _bind_one(_tensor(shape=shape), column_type)
        assert isinstance(problem, str)
        assert problem.startswith("input x: float32 [")
        assert words in problem
        assert "--input_map=x=" in problem


class TestCasts:
    @pytest.mark.parametrize(
        ("dtype", "column_type", "cast"),
        [
            ("float32", _vector(3), Cast.SAME),
            ("float32", _vector(3, pa.float64()), Cast.ROUND),
            ("float64", _vector(3, pa.float32()), Cast.WIDEN),
            ("float32", _vector(3, pa.int64()), Cast.CHECKED),
            ("float32", _vector(3, pa.bool_()), Cast.WIDEN),
            ("string", _vector(3, pa.string()), Cast.SAME),
            ("string", _vector(3, pa.large_binary()), Cast.SAME),
            ("string", _vector(3, pa.dictionary(pa.int8(), pa.string())), Cast.SAME),
            ("float32", _vector(3, pa.dictionary(pa.int8(), pa.float32())), Cast.SAME),
        ],
    )
    def test_is_that_of_the_values(self, dtype, column_type, cast):
        """What counts is the type of the values, within lists and dictionaries."""
        assert _bind_one(_tensor(dtype=dtype), column_type).cast is cast

    @pytest.mark.parametrize(
        ("dtype", "value_type"),
        [
            ("float32", pa.string()),
            ("string", pa.int64()),
            ("int64", pa.float64()),
            ("float32", pa.timestamp("s")),
            ("float32", pa.decimal128(5)),
            ("float32", pa.null()),
            ("complex64", pa.float32()),
            ("resource", pa.float32()),
        ],
    )
    def test_impossible(self, dtype, value_type):
        """Values that would change are refused with both types."""
        problem = _bind_one(_tensor(dtype=dtype), _vector(3, value_type))
        assert f"there is no cast from {value_type} to {dtype}" in problem
        assert "--preprocess" in problem

    def test_message_shows_the_cast(self):
        """`inspect` shows where a value may change."""
        rounded = _bind_one(_tensor(), _vector(3, pa.float64()))
        assert str(rounded) == (
            "x: float32 [None, 3] <- x (rounded to the nearest, overflow checked)"
        )
        assert str(_bind_one(_tensor(), _vector(3))) == "x: float32 [None, 3] <- x"


class TestUnfeedableInputs:
    def test_composite(self):
        """What has no list for each row is named, with what to do."""
        problem = _bind_one(_tensor(dtype="composite", shape=None), _F32)
        assert problem == (
            "input 'x' is composite, which is no list of values for each row; "
            "export a signature with a padded input, or one that takes serialized Examples"
        )

    def test_no_batch_dimension(self):
        """A scalar input cannot be fed rows."""
        problem = _bind_one(_tensor(shape=()), _F32)
        assert problem == "input 'x' is a scalar without a batch dimension: it cannot be fed rows"


class TestRecords:
    _EXAMPLES = _tensor("examples", "string", (None,))
    _SCHEMA = pa.schema([pa.field("a", pa.binary()), pa.field("b", _F32)])

    def _try(self, tensor, schema=_SCHEMA, *, has_records=True, input_map=()):
        return try_bind(
            _signature(tensor), schema, parse_input_map(input_map), has_records=has_records
        )[0]

    @pytest.mark.parametrize("shape", [(None,), (16,)])
    def test_string_vector_without_a_feature_of_its_name(self, shape):
        """A rank-1 string input that no feature is called like takes serialized Examples."""
        bound = self._try(_tensor("examples", "string", shape))
        assert bound.takes_records
        assert bound.columns == (RECORD_COLUMN,)
        assert bound.row_shape == ()
        assert str(bound).endswith("<- serialized Examples")

    def test_feature_of_the_same_name_wins(self):
        """A feature that is called like the input feeds it."""
        bound = self._try(_tensor("a", "string", (None,)))
        assert not bound.takes_records
        assert bound.columns == ("a",)

    @pytest.mark.parametrize("shape", [(None, 1), None])
    def test_other_ranks(self, shape):
        """Only rank 1 is taken for serialized Examples."""
        assert "has no column of that name" in self._try(_tensor("examples", "string", shape))

    def test_parquet_has_none(self):
        """Without records a string vector is an input like any other."""
        assert "has no column of that name" in self._try(self._EXAMPLES, has_records=False)

    def test_asked_for_by_name(self):
        """`--input_map` can ask for records, and is refused where there are none, or none fit."""
        mapped = f"examples={RECORD_COLUMN}"
        assert self._try(self._EXAMPLES, input_map=[mapped]).takes_records
        parquet = self._try(self._EXAMPLES, has_records=False, input_map=[mapped])
        assert (
            "the data are no serialized Examples; have them made, with --input_map=examples=example"
            in parquet
        )
        matrix = self._try(_tensor("examples", "string", (None, 1)), input_map=[mapped])
        assert "cannot be fed serialized Examples" in matrix


class TestInputMap:
    _SCHEMA = pa.schema(
        [
            pa.field("a", _F32),
            pa.field("b", pa.float64()),
            pa.field("n", pa.int64()),
            pa.field("v", _vector(3)),
            pa.field("s", pa.string()),
        ]
    )

    def _try(self, entry, tensor=None):
        inputs = _signature(tensor or _tensor())
        return try_bind(inputs, self._SCHEMA, parse_input_map([entry]), has_records=False)[0]

    def test_one_column(self):
        """A column of another name feeds the input."""
        assert self._try("x=v").columns == ("v",)

    def test_stack(self):
        """Scalar columns become the columns of a matrix, in the order given."""
        bound = self._try("x=[b,a,b]")
        assert bound.columns == ("b", "a", "b")
        assert bound.row_shape == (3,)
        assert bound.cast is Cast.ROUND

    def test_stack_of_one(self):
        """A list of one column is a matrix, too."""
        assert self._try("x=[a]", _tensor(shape=(None, 1))).row_shape == (1,)
        assert isinstance(self._try("x=[a]", _tensor(shape=(None,))), str)

    @pytest.mark.parametrize(
        ("entry", "words"),
        [
            ("x=[a,b]", "one row would be 2 values"),
            ("x=[a,v]", "only scalar columns can be stacked, got a (float), v (fixed_size_list"),
            ("x=[a,b,s]", "there is no cast from string to float32"),
            ("x=c", "names a column that the data do not have: 'c'; there are: a, b, n, v, s"),
            ("x=[a,bb,cc]", "the data do not have: 'bb'; did you mean 'b'?; 'cc'; there are: a"),
        ],
    )
    def test_misfits(self, entry, words):
        """What does not fit is told with the columns and what there is."""
        assert words in self._try(entry)


class TestBind:
    _SCHEMA = pa.schema([pa.field("a", _F32), pa.field("b", _F32)])

    def _bind(self, *inputs, input_map=()):
        return bind(
            _signature(*inputs),
            self._SCHEMA,
            parse_input_map(input_map),
            has_records=False,
            model="m/1",
        )

    def test_columns_are_read_once(self):
        """A column that feeds several inputs is read once; order is that of first use."""
        scalar = {"dtype": "float32", "shape": (None,)}
        inputs = [_tensor(name, **scalar) for name in ("p", "q", "r")]
        binding = self._bind(*inputs, input_map=["p=b", "q=a", "r=b"])
        assert binding.columns == ("b", "a")
        assert not binding.takes_records

    def test_every_problem_is_listed(self):
        """One message has a line for each input that does not fit and each unknown name."""
        with pytest.raises(InvalidArgumentError) as caught:
            self._bind(_tensor("a"), _tensor("c"), input_map=["aa=a"])
        first, *others = str(caught.value).splitlines()
        assert first == "signature 'serving_default' of model m/1 does not fit the data:"
        assert len(others) == 3
        assert others[0].startswith("  input a: float32 [None, 3] cannot take a (float)")
        assert others[1].startswith("  input c: float32 [None, 3] has no column of that name")
        assert others[2] == ("  --input_map names 'aa', which is no input of it; did you mean 'a'?")

    def test_duplicate_names(self):
        """Two columns of one name cannot feed an input; others are no obstacle."""
        schema = pa.schema([("a", _F32), ("a", _F32), ("b", _F32)])
        scalars = [_tensor(name, shape=(None,)) for name in ("a", "b", "c")]
        a, b, c = try_bind(_signature(*scalars), schema, {}, has_records=False)
        assert "the data have several columns called 'a'" in a
        assert b.columns == ("b",)
        assert "has no column of that name" in c


@pytest.mark.parametrize(
    ("name", "names", "expected"),
    [
        ("pricee", ["id", "price"], "; did you mean 'price'?"),
        ("zz", ["id", "price"], "; there are: id, price"),
        ("zz", [], "; there are none"),
        ("zz", ["9" * 500, "a\nb"], f"; there are: {'9' * 100}..., 'a\\nb'"),
    ],
)
def test_closest(name, names, expected):
    """The nearest name if one is near, else all of them."""
    assert closest(name, names) == expected


class TestPadding:
    _MASK = _tensor("m", "bool", (None, None))
    _LENGTHS = _tensor("n", "int64", (None,))
    _LISTS = pa.schema([("x", _RAGGED), ("y", _RAGGED), ("s", _F32), ("f", _vector(3))])

    def _bound(self, inputs, *input_map, pads_all=False):
        """Returns how inputs bind, in words."""
        results = try_bind(
            _signature(*inputs),
            self._LISTS,
            parse_input_map(input_map),
            has_records=False,
            pads_all=pads_all,
        )
        return [str(each).partition(" <- ")[2] or str(each) for each in results]

    def test_by_a_mask_or_lengths(self):
        """An input is padded if something is told of its padding; others are not."""
        x, y = _tensor("x", shape=(None, None)), _tensor("y", shape=(None, None))
        assert self._bound([x, y, self._MASK], "m=mask(x)") == ["x (padded)", "y", "mask(x)"]
        assert self._bound([x, y, self._LENGTHS], "n=len(y)") == ["x", "y (padded)", "len(y)"]

    def test_all(self):
        """With the flag all lists of varying length are padded, and nothing else."""
        inputs = [
            _tensor("x", shape=(None, None)),
            _tensor("y", shape=(None, None, 2)),
            _tensor("s", shape=(None, None)),
            _tensor("f", shape=(None, None)),
        ]
        assert self._bound(inputs, pads_all=True) == ["x (padded)", "y (padded)", "s", "f"]

    def test_two_inputs_of_one_column(self):
        """Inputs fed with one column are padded alike."""
        inputs = [_tensor("x", shape=(None, None)), _tensor("z", shape=(None, None)), self._MASK]
        found = self._bound(inputs, "z=x", "m=mask(x)")
        assert found == ["x (padded)", "x (padded)", "mask(x)"]

    def test_mask_of_another_version(self):
        """A version without the mask is not padded because another one has it."""
        assert self._bound([_tensor("x", shape=(None, None))], "m=mask(x)") == ["x"]

    def test_mask_of_lists_of_one_length(self):
        """Lists of a fixed size are not padded, and yet have a mask."""
        found = self._bound([_tensor("f", shape=(None, None)), self._MASK], "m=mask(f)")
        assert found == ["f", "mask(f)"]

    @pytest.mark.parametrize("column", ["s", "f", "gone"])
    def test_mask_without_its_input(self, column):
        """A mask of lists that feed nothing is told, whatever the reason."""
        problem = self._bound([_tensor("x", shape=(None, None)), self._MASK], f"m=mask({column})")
        assert problem[1].startswith("input m: bool [None, None]")

    @pytest.mark.parametrize(
        ("tensor", "source"),
        [
            (_tensor("m", "string", (None, None)), "mask(x)"),
            (_tensor("m", "bool", (None,)), "mask(x)"),
            (_tensor("m", "bool", (None, 16)), "mask(x)"),
            (_tensor("m", "int64", (None, None)), "len(x)"),
        ],
    )
    def test_input_of_another_shape_or_type(self, tensor, source):
        """A mask is a matrix of unknown width, lengths a vector, both of numbers or booleans."""
        found = self._bound([_tensor("x", shape=(None, None)), tensor], f"m={source}")
        assert f"cannot be {source}, which is " in found[1]


class TestExamples:
    def _bind(self, tensor, source, **columns):
        results = try_bind(
            _signature(tensor),
            pa.schema(list(columns.items())),
            parse_input_map([f"x={source}"]),
            has_records=False,
        )
        return results[0]

    def test_all_columns(self):
        """But those that a job adds to tell where a row comes from."""
        columns = {"a": _F32, "b": _RAGGED, "source_file": pa.string(), "source_row": pa.int64()}
        bound = self._bind(_tensor(dtype="string", shape=(None,)), "example(*)", **columns)
        assert isinstance(bound, BoundInput)
        assert bound.columns == ("a", "b")
        assert str(bound) == "x: string [None] <- example(a, b)"

    def test_input_that_takes_no_examples(self):
        """Examples are strings, one a row."""
        assert "cannot be fed serialized Examples" in self._bind(_tensor(), "example(a)", a=_F32)

    def test_column_that_is_not_there(self):
        """As with any other source."""
        problem = self._bind(_tensor(dtype="string", shape=(None,)), "example(a,agee)", age=_F32)
        assert "'agee'; did you mean 'age'?" in problem

    def test_type_that_examples_lack(self):
        """Known before any row is read."""
        tensor = _tensor(dtype="string", shape=(None,))
        problem = self._bind(tensor, "example(*)", a=_F32, price=pa.decimal128(9, 2))
        assert problem == (
            "input x: string [None]: column 'price' is decimal128(9, 2), which a tf.train.Example has"
            " no feature for; name the columns to encode, with --input_map=x=example(COLUMN,COLUMN)"
        )

import math

import numpy as np
import pyarrow as pa
import pytest

from servable_core.batching.padding import Derivation, DerivedInput
from servable_core.errors import InvalidArgumentError
from servable_core.servables.signature import SignatureSpec, TensorSpec
from transforms.binding import bind
from transforms.input_map import parse_input_map
from transforms.padding import padding_options

LISTS = pa.schema([("x", pa.list_(pa.float32()))])


def _signature(dtype="float32", *more, outputs=()):
    tensor = TensorSpec(name="x", dtype=dtype, shape=(None, None))
    return SignatureSpec(name="s", inputs=(tensor, *more), outputs=outputs)


def _options(signature, schema=LISTS, *, input_map=(), pad_values=None, ladder=(), pads_all=True):
    binding = bind(
        signature,
        schema,
        parse_input_map(input_map),
        has_records=False,
        model="m/1",
        pads_all=pads_all,
    )
    return padding_options(signature, binding, pad_values or {}, ladder)


def _padded_with(dtype, text):
    list_type = pa.string() if dtype == "string" else pa.bool_() if dtype == "bool" else pa.int8()
    schema = pa.schema([("x", pa.list_(list_type))])
    return _options(_signature(dtype), schema, pad_values={"x": text}).pad_values["x"]


class TestPadValues:
    @pytest.mark.parametrize(
        ("dtype", "text", "value"),
        [
            ("int32", "7", 7),
            ("int8", "-128", -128),
            ("uint8", "255", 255),
            ("float32", "0.5", 0.5),
            ("float32", "-1", -1.0),
            ("float32", "1e3", 1000.0),
            ("float64", "-inf", -math.inf),
            ("float16", "2", 2.0),
            ("bool", "1", True),
            ("string", "[PAD]", b"[PAD]"),
            ("string", "é", "é".encode()),
            ("string", "", b""),
        ],
    )
    def test_values(self, dtype, text, value):
        """A value becomes one of its input's type."""
        found = _padded_with(dtype, text)
        assert found == value
        assert isinstance(found, bytes) or found.dtype == np.dtype(dtype)

    def test_not_a_number(self):
        """NaN can be a pad value as well."""
        assert math.isnan(_padded_with("float32", "nan"))

    @pytest.mark.parametrize(
        ("dtype", "text"),
        [
            ("int32", "x"),
            ("int32", ""),
            ("int32", "0.5"),
            ("int32", "nan"),
            ("int32", "1e3"),
            ("int8", "128"),
            ("uint8", "-1"),
            ("int64", str(1 << 70)),
            ("float32", "16777217"),
            ("float32", "1e39"),
            ("float16", "1e6"),
            ("bool", "2"),
            ("bool", "0.5"),
            ("float32", "zero"),
        ],
    )
    def test_no_value_of_the_type(self, dtype, text):
        """What would be changed by the type is refused, with flag and value."""
        with pytest.raises(InvalidArgumentError, match=f"^--pad_values=x={text}: "):
            _padded_with(dtype, text)

    def test_values_of_other_models(self):
        """A value for an input that this model does not pad is left to the others."""
        options = _options(_signature(), pad_values={"y": "1"})
        assert options.pad_values == {}


class TestDerived:
    def test_mask_and_lengths(self):
        """Each is made when the input of its column is padded."""
        mask = TensorSpec(name="m", dtype="bool", shape=(None, None))
        length = TensorSpec(name="n", dtype="int32", shape=(None,))
        options = _options(
            _signature("float32", mask, length),
            input_map=("m=mask(x)", "n=len(x)"),
            pads_all=False,
        )
        assert options.derived == (
            DerivedInput(name="m", of="x", derivation=Derivation.MASK, dtype="bool"),
            DerivedInput(name="n", of="x", derivation=Derivation.LENGTHS, dtype="int32"),
        )

    def test_ladder(self):
        """The lengths given are those padded to."""
        assert _options(_signature(), ladder=(3, 9)).ladder.round_up([1, 4, 10]).tolist() == [
            3,
            9,
            18,
        ]


class TestOutputs:
    OUTPUTS = tuple(
        TensorSpec(name=name, dtype="float32", shape=shape)
        for name, shape in {
            "a": (None, None),
            "b": (None, None, 3),
            "c": (None, 3),
            "d": (None,),
            "e": None,
            "f": (None, 3, None),
        }.items()
    )

    def test_second_dimension_unknown(self):
        """An output may be as long as its row where its second dimension is not known."""
        options = _options(_signature(outputs=self.OUTPUTS))
        assert options.ragged_outputs == {"a", "b"}

    def test_nothing_is_padded(self):
        """Without padding there is nothing to cut."""
        options = _options(_signature(outputs=self.OUTPUTS), pads_all=False)
        assert options.ragged_outputs == frozenset()

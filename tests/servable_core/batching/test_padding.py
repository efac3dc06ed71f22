"""Padding: dense inputs of one shape, what describes it, and outputs cut again."""

import numpy as np
import pytest

from servable_core.batching.length_ladder import LengthLadder
from servable_core.batching.padding import (
    Derivation,
    DerivedInput,
    PaddingOptions,
    cut_outputs,
    pad_inputs,
    row_lengths,
)
from servable_core.batching.ragged_array import RaggedArray

FOUR = LengthLadder(rungs=(4,))


def ragged(rows, dtype="int32"):
    return RaggedArray.from_rows(rows, dtype)


def derived(derivation, dtype):
    return DerivedInput(name="made", of="ids", derivation=derivation, dtype=dtype)


def test_dense_inputs_stay_as_they_are():
    """No copy, no length."""
    x = np.ones((2, 3))
    padded = pad_inputs({"x": x}, PaddingOptions())
    assert padded.inputs["x"] is x
    assert (padded.lengths, padded.padded_length) == (None, 0)


def test_each_input_is_padded_to_its_own_rung():
    """The length of the batch is that of its longest input."""
    inputs = {"a": ragged([[1], [2]]), "b": ragged([[1] * 5, []]), "x": np.zeros(2)}
    padded = pad_inputs(inputs, PaddingOptions(ladder=FOUR))
    assert {name: value.shape for name, value in padded.inputs.items()} == {
        "a": (2, 4),
        "b": (2, 8),
        "x": (2,),
    }
    assert padded.padded_length == 8
    assert padded.lengths.tolist() == row_lengths(inputs).tolist() == [5, 1]


@pytest.mark.parametrize(
    ("dtype", "pad_values", "fill"),
    [
        ("int32", {}, 0),
        ("float32", {"ids": -1.5}, -1.5),
        ("object", {}, b""),
        ("S3", {}, b""),
        ("U3", {}, ""),
        ("object", {"ids": b"[PAD]"}, b"[PAD]"),
    ],
)
def test_pad_value_is_of_the_dtype(dtype, pad_values, fill):
    """Zero, the empty string, or as told."""
    options = PaddingOptions(ladder=FOUR, pad_values=pad_values)
    padded = pad_inputs({"ids": ragged([[], []], dtype)}, options)
    assert padded.inputs["ids"].tolist() == [[fill] * 4] * 2


@pytest.mark.parametrize(
    ("derivation", "dtype", "values"),
    [
        (Derivation.MASK, "int32", [[1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]]),
        (Derivation.MASK, "bool", [[True, True, False, False], [False] * 4, [True] * 4]),
        (Derivation.LENGTHS, "int64", [2, 0, 4]),
        (Derivation.LENGTHS, "float32", [2.0, 0.0, 4.0]),
    ],
)
def test_derived_inputs_describe_the_padding(derivation, dtype, values):
    """In the type that the model wants."""
    options = PaddingOptions(ladder=FOUR, derived=(derived(derivation, dtype),))
    made = pad_inputs({"ids": ragged([[1, 2], [], [0, 0, 0, 0]])}, options).inputs["made"]
    assert made.tolist() == values
    assert made.dtype == dtype


@pytest.mark.parametrize(
    ("derivation", "values"), [(Derivation.MASK, [[1, 1], [1, 1]]), (Derivation.LENGTHS, [2, 2])]
)
def test_inputs_derived_of_a_dense_one_say_that_all_values_count(derivation, values):
    """Rows that callers have padded themselves, or that are all of one length."""
    options = PaddingOptions(derived=(derived(derivation, "int32"),))
    padded = pad_inputs({"ids": np.zeros((2, 2))}, options)
    assert padded.inputs["made"].tolist() == values


def test_no_rows_are_padded_to_the_first_rung():
    """And what is derived has no rows either."""
    options = PaddingOptions(ladder=FOUR, derived=(derived(Derivation.MASK, "int32"),))
    padded = pad_inputs({"ids": ragged([])}, options)
    assert padded.inputs["ids"].shape == padded.inputs["made"].shape == (0, 4)
    assert padded.padded_length == 4


def test_outputs_are_cut_to_the_rows_own_lengths():
    """Of the rows that were asked for, and only where the model kept the padded length."""
    options = PaddingOptions(ladder=FOUR, ragged_outputs=frozenset({"tags", "pooled", "score"}))
    padded = pad_inputs({"ids": ragged([[1], [2, 2], [], [3] * 4])}, options)
    outputs = {
        "tags": np.arange(12).reshape(3, 4),
        "pooled": np.zeros((3, 7)),
        "score": np.zeros(3),
        "other": np.zeros((3, 4)),
    }
    own = cut_outputs(outputs, padded, slice(1, 4), options)
    assert [own["tags"].row(i).tolist() for i in range(3)] == [[0, 1], [], [8, 9, 10, 11]]
    assert all(own[name] is outputs[name] for name in ["pooled", "score", "other"])


def test_outputs_of_dense_inputs_are_not_cut():
    """There is nothing to cut them to."""
    options = PaddingOptions(ragged_outputs=frozenset({"tags"}))
    padded = pad_inputs({"x": np.zeros((2, 4))}, options)
    tags = np.zeros((2, 4))
    assert cut_outputs({"tags": tags}, padded, slice(0, 2), options)["tags"] is tags

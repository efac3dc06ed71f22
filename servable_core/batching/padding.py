"""Rows of different lengths to arrays of one shape, and outputs back to the rows' own lengths."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

import numpy as np

from servable_core.batching.length_ladder import LengthLadder
from servable_core.batching.ragged_array import RaggedArray, row_mask, unpadded


class Derivation(Enum):
    """What an input can say of the padding of another."""

    MASK = "mask"
    LENGTHS = "len"


@dataclass(frozen=True, kw_only=True, slots=True)
class DerivedInput:
    """An input that callers do not give: it is made when another one is padded.

    Attributes:
        name: Of the input.
        of: The ragged input that it describes.
        derivation: MASK: [num_rows, length], one where the row has a value of its own and zero
            where it is padded; LENGTHS: [num_rows], how many values the row has.
        dtype: bool, or an integer or float type.
    """

    name: str
    of: str
    derivation: Derivation
    dtype: str

    def values(self, lengths: np.ndarray, padded_length: int) -> np.ndarray:
        """Returns the values for rows of these lengths."""
        is_mask = self.derivation is Derivation.MASK
        made = row_mask(lengths, padded_length) if is_mask else lengths
        return made.astype(self.dtype)


@dataclass(frozen=True, kw_only=True, slots=True)
class PaddingOptions:
    """How ragged inputs become dense.

    Attributes:
        ladder: Which lengths are padded to which.
        pad_values: What to pad an input with, where it is not zero or the empty string.
        derived: Inputs to make.
        ragged_outputs: Outputs whose second dimension is the padded length; they are cut to the
            rows' own lengths again.
    """

    ladder: LengthLadder = LengthLadder()  # noqa: RUF009 - frozen
    pad_values: Mapping[str, Any] = field(default_factory=dict)
    derived: tuple[DerivedInput, ...] = ()
    ragged_outputs: frozenset[str] = frozenset()


class PaddedInputs(NamedTuple):
    """Inputs of which none is ragged any more.

    Attributes:
        inputs: By name; those derived included.
        lengths: Values of each row, of its longest ragged input; None if no input was ragged.
        padded_length: What they were padded to; 0 if no input was ragged.
    """

    inputs: Mapping[str, Any]
    lengths: np.ndarray | None = None
    padded_length: int = 0


def row_lengths(inputs: Mapping[str, Any]) -> np.ndarray | None:
    """Returns for each row the values of its longest ragged input; None if no input is ragged."""
    longest: np.ndarray | None = None
    for value in inputs.values():
        if isinstance(value, RaggedArray):
            longest = value.lengths if longest is None else np.maximum(longest, value.lengths)
    return longest


def pad_inputs(inputs: Mapping[str, Any], options: PaddingOptions) -> PaddedInputs:
    """Pads every ragged input to the rung above its own longest row, and makes the derived ones."""
    lengths = row_lengths(inputs)
    if lengths is None and not options.derived:
        return PaddedInputs(inputs)
    padded = {
        name: _padded(name, value, options) if isinstance(value, RaggedArray) else value
        for name, value in inputs.items()
    }
    for each in options.derived:
        shape = padded[each.of].shape
        own = row_lengths({each.of: inputs[each.of]})
        own = np.full(shape[0], shape[1]) if own is None else own  # a dense input has all values
        padded[each.name] = each.values(own, shape[1])
    padded_length = 0 if lengths is None else options.ladder.rung(lengths.max(initial=0))
    return PaddedInputs(inputs=padded, lengths=lengths, padded_length=padded_length)


def _padded(name: str, value: RaggedArray, options: PaddingOptions) -> np.ndarray:
    is_text = value.dtype.kind in "OSU"
    fill = options.pad_values.get(name, b"" if is_text else 0)
    return value.padded(options.ladder.rung(value.lengths.max(initial=0)), fill)


def cut_outputs(
    outputs: Mapping[str, np.ndarray], padded: PaddedInputs, rows: slice, options: PaddingOptions
) -> dict[str, Any]:
    """Returns the outputs with those in `options.ragged_outputs` cut to the lengths of `rows`.

    An output whose second dimension is not the padded length stays as it is: the model has made
    something of its own of it.
    """
    lengths = padded.lengths
    if lengths is None or not options.ragged_outputs:
        return dict(outputs)
    return {
        name: unpadded(value, lengths[rows])
        if name in options.ragged_outputs and _is_padded(value, padded.padded_length)
        else value
        for name, value in outputs.items()
    }


def _is_padded(value: np.ndarray, padded_length: int) -> bool:
    return value.ndim > 1 and value.shape[1] == padded_length

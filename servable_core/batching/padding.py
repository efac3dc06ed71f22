"""Rows of different lengths to arrays of one shape, and outputs back to the rows' own lengths."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

import numpy as np

from servable_core.batching.length_ladder import LengthLadder
from servable_core.batching.ragged_array import RaggedArray, row_mask, unpadded
from servable_core.errors import FailedPreconditionError


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

    def values(self, places: "_Places") -> np.ndarray:
        """Returns the values for rows that lie so."""
        made = places.mask if self.derivation is Derivation.MASK else places.lengths
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
        unpadded: Inputs that the model takes ragged; their rows, too, are run with their like.
    """

    ladder: LengthLadder = LengthLadder()  # noqa: RUF009 - frozen
    pad_values: Mapping[str, Any] = field(default_factory=dict)
    derived: tuple[DerivedInput, ...] = ()
    ragged_outputs: frozenset[str] = frozenset()
    unpadded: tuple[str, ...] = ()


class PaddedInputs(NamedTuple):
    """Inputs of which none is ragged any more, but those that the model takes so.

    Attributes:
        inputs: By name; those derived included.
        lengths: Values of each row, of its longest ragged input; None if no input was ragged.
        padded_length: What they were padded to, or would be; 0 if no input was ragged.
        is_padded: Whether one was.
        keeps_lengths: Whether one is still ragged.
    """

    inputs: Mapping[str, Any]
    lengths: np.ndarray | None = None
    padded_length: int = 0
    is_padded: bool = False
    keeps_lengths: bool = False


class _Places(NamedTuple):
    """Where rows lie in their padded array, found once for all that is made of them.

    Attributes:
        lengths: Values of each row.
        mask: `row_mask` of these lengths: [num_rows, padded length].
    """

    lengths: np.ndarray
    mask: np.ndarray

    @classmethod
    def of(cls, value: Any, ladder: LengthLadder) -> "_Places":
        if isinstance(value, RaggedArray):
            lengths = value.lengths
            return cls(lengths, row_mask(lengths, ladder.rung(lengths.max(initial=0))))
        num_rows, length = value.shape[:2]  # a dense input has all values
        return cls(np.full(num_rows, length), np.ones((num_rows, length), np.bool_))


def row_lengths(inputs: Mapping[str, Any]) -> np.ndarray | None:
    """Returns for each row the values of its longest ragged input; None if no input is ragged."""
    longest: np.ndarray | None = None
    for value in inputs.values():
        if isinstance(value, RaggedArray):
            longest = value.lengths if longest is None else np.maximum(longest, value.lengths)
    return longest


def pad_inputs(inputs: Mapping[str, Any], options: PaddingOptions) -> PaddedInputs:
    """Pads ragged inputs, each to the rung above its own longest row, and makes the derived ones."""
    lengths = row_lengths(inputs)
    if lengths is None and not options.derived:
        return PaddedInputs(inputs)
    ragged = {name for name, value in inputs.items() if isinstance(value, RaggedArray)}
    to_pad = ragged.difference(options.unpadded)
    padded, places = dict(inputs), {}
    for name in to_pad | {each.of for each in options.derived}:
        places[name] = _Places.of(inputs[name], options.ladder)
        padded[name] = _padded(name, inputs[name], places[name].mask, options)
    padded.update({each.name: each.values(places[each.of]) for each in options.derived})
    padded_length = 0 if lengths is None else options.ladder.rung(lengths.max(initial=0))
    return PaddedInputs(
        inputs=padded,
        lengths=lengths,
        padded_length=padded_length,
        is_padded=bool(to_pad),
        keeps_lengths=len(to_pad) < len(ragged),
    )


def _padded(name: str, value: Any, mask: np.ndarray, options: PaddingOptions) -> Any:
    if not isinstance(value, RaggedArray):
        return value
    is_text = value.dtype.kind in "OSU"
    fill = options.pad_values.get(name, b"" if is_text else 0)
    return value.padded(mask.shape[1], fill, mask)


def cut_outputs(
    outputs: Mapping[str, np.ndarray], padded: PaddedInputs, rows: slice, options: PaddingOptions
) -> dict[str, Any]:
    """Returns the outputs with those in `options.ragged_outputs` cut to the lengths of `rows`.

    An output whose second dimension is not the padded length stays as it is: the model has made
    something of its own of it. Where the model gets ragged rows, it pads them to the longest itself.

    Raises:
        FailedPreconditionError: The model gets several ragged inputs whose rows differ in length, so
            that nobody knows which of them an output is as long as.
    """
    if padded.lengths is None or not options.ragged_outputs:
        return dict(outputs)
    lengths = padded.lengths[rows]
    widths = {padded.padded_length} if padded.is_padded else set()
    if padded.keeps_lengths:
        widths.add(int(lengths.max(initial=0)))
    to_cut = {
        name
        for name in options.ragged_outputs.intersection(outputs)
        if outputs[name].ndim > 1 and outputs[name].shape[1] in widths
    }
    if to_cut:
        _check_lengths(min(to_cut), padded, lengths, rows)
    return {
        name: unpadded(value, lengths) if name in to_cut else value
        for name, value in outputs.items()
    }


def _check_lengths(output: str, padded: PaddedInputs, lengths: np.ndarray, rows: slice) -> None:
    for name, value in padded.inputs.items():
        if isinstance(value, RaggedArray) and (value.lengths[rows] != lengths).any():
            raise FailedPreconditionError(
                f"output {output!r} is as wide as the longest row of the call, but the ragged input {name!r} has rows of other lengths than another one, so it cannot be cut to its own; export it ragged, or leave it out with --output_tensors"
            )

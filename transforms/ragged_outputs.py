"""Which outputs are as long as the padded rows, and which have a width of their own."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from servable_core.batching.length_ladder import LengthLadder
from servable_core.batching.padding import PaddingOptions, pad_inputs
from servable_core.batching.ragged_array import RaggedArray

_LENGTHS = (2, 3)

_logger = logging.getLogger(__name__)


def without_fixed_outputs(
    padding: PaddingOptions,
    inputs: Mapping[str, Any],
    run: Callable[[Mapping[str, Any]], Mapping[str, np.ndarray]],
) -> PaddingOptions:
    """Returns the options without the ragged outputs that do not grow with the padded length.

    The signature does not tell, and an output of 16 classes looks like one of rows that are padded
    to 16: so the model is run on the first values of a row at two lengths. If it refuses those, all
    stay as they are.

    Args:
        padding: How the ragged inputs are padded.
        inputs: Some rows, as they are submitted.
        run: The model.
    """
    first = {name: _first_values(value) for name, value in inputs.items()}
    if not padding.ragged_outputs or not all(map(len, first.values())):
        return padding
    ragged = padding.ragged_outputs
    try:
        for length in _LENGTHS:
            options = replace(padding, ladder=LengthLadder(rungs=(length,)))
            inputs = first | {name: _filled(first[name], length) for name in padding.unpadded}
            outputs = run(pad_inputs(inputs, options).inputs)
            ragged &= {name for name, each in outputs.items() if each.shape[1:2] == (length,)}
    except Exception as error:  # noqa: BLE001 - a model may refuse rows that short, in any way
        _logger.info("rows of %s values could not be run: %s", _LENGTHS, error)
        return padding
    return replace(padding, ragged_outputs=ragged)


def _filled(row: RaggedArray, length: int) -> RaggedArray:
    """Returns a row of this length, for a model that takes rows as long as they are."""
    padded = row.padded(length, b"" if row.dtype.kind in "OSU" else 0)
    return RaggedArray(padded[0], np.array([0, length]))


def _first_values(value: Any) -> Any:
    """Returns the first row; of a ragged one as many values as the shorter length has."""
    row = value[:1]
    if not isinstance(row, RaggedArray):
        return row
    return RaggedArray(row.values, row.offsets.clip(max=row.offsets[0] + min(_LENGTHS)))

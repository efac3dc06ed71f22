"""What a server's methods make of a signature's outputs: predict, classify and regress.

method      takes                outputs                                          columns
predict     any inputs           any                                              one for each
classify    one input, `inputs`  `classes` string [n, c], `scores` float32 [n, c],  the same, as lists
                                 or one of the two
regress     one input, `inputs`  `outputs` float32 [n] or [n, 1]                  `value`
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from servable_core.batching.ragged_array import RaggedArray
from servable_core.errors import InvalidArgumentError
from servable_core.servables.signature import SignatureSpec, TensorSpec

METHODS = ("predict", "classify", "regress")
_INPUT = "inputs"
_CLASSES, _SCORES = "classes", "scores"
_VALUES, _VALUE_COLUMN = "outputs", "value"
_DTYPES = {_CLASSES: "string", _SCORES: "float32", _VALUES: "float32"}
_REMEDY = "ask for another --signature_name, or leave out --method"


def check_method(method: str) -> None:
    """Checks the value of `--method`.

    Raises:
        InvalidArgumentError: There is no such method.
    """
    if method not in METHODS:
        raise InvalidArgumentError(f"--method must be one of {', '.join(METHODS)}, got {method!r}")


def output_columns(method: str, signature: SignatureSpec, model: str) -> dict[str, str]:
    """Returns the column that each output becomes: what is fetched of the signature.

    Args:
        method: One of `METHODS`.
        signature: The signature that is run.
        model: Whose it is, for messages.

    Raises:
        InvalidArgumentError: The method has no use for such a signature; the message says why.
    """
    names = [each.name for each in signature.outputs]
    if method == "predict":
        return {name: name for name in names}
    place = f"--method={method}: signature {signature.name!r} of model {model}"
    inputs = [each.name for each in signature.inputs]
    if inputs != [_INPUT]:
        raise InvalidArgumentError(
            f"{place} takes {_listed(inputs)}, where one input called {_INPUT!r} is expected; {_REMEDY}"
        )
    wanted = _classify_outputs(names) if method == "classify" else _regress_outputs(names)
    if wanted is None:
        expected = f"{_CLASSES!r}, {_SCORES!r} or both" if method == "classify" else repr(_VALUES)
        raise InvalidArgumentError(
            f"{place} returns {_listed(names)}, where {expected} is expected; {_REMEDY}"
        )
    for each in signature.outputs:
        if each.name in wanted:
            _check_output(each, place)
    return wanted


def _classify_outputs(names: Sequence[str]) -> dict[str, str] | None:
    wanted = {name: name for name in (_CLASSES, _SCORES) if name in names}
    return wanted if wanted and len(names) <= 2 else None


def _regress_outputs(names: Sequence[str]) -> dict[str, str] | None:
    return {_VALUES: _VALUE_COLUMN} if list(names) == [_VALUES] else None


def _check_output(output: TensorSpec, place: str) -> None:
    expected = _DTYPES[output.name]
    if output.dtype != expected:
        raise InvalidArgumentError(
            f"{place} returns {output}, where {expected} is expected; {_REMEDY}"
        )
    if output.shape is None:
        return
    if output.name == _VALUES:
        fits = len(output.shape) == 1 or (len(output.shape) == 2 and output.shape[1] in (1, None))
    else:
        fits = len(output.shape) == 2
    if not fits:
        raise _bad_shape(f"{place} returns {output}", output.name)


def method_outputs(
    method: str, outputs: Mapping[str, Any], num_rows: int, model: str
) -> Mapping[str, Any]:
    """Returns a batch's outputs as the method answers: checked, and classes and scores as lists.

    Args:
        method: One of `METHODS`.
        outputs: Arrays by output name, of those in `output_columns`.
        num_rows: Rows that were asked for.
        model: Whose they are, for messages.

    Raises:
        InvalidArgumentError: The model returned another shape than the method needs.
    """
    if method == "predict":
        return outputs
    for name, array in outputs.items():
        _check_batch(
            f"--method={method}: model {model} returned {name!r} of shape", name, array, num_rows
        )
    if method == "regress":
        return {name: array.reshape(num_rows) for name, array in outputs.items()}
    sizes = {name: array.shape[1] for name, array in outputs.items()}
    if len(set(sizes.values())) > 1:
        raise InvalidArgumentError(
            f"--method={method}: model {model} returned {sizes[_CLASSES]} classes and {sizes[_SCORES]} scores a row, where as many of both are expected; {_REMEDY}"
        )
    return {name: _lists(array) for name, array in outputs.items()}


def _check_batch(place: str, name: str, array: Any, num_rows: int) -> None:
    shape = tuple(array.shape)
    fits = shape in ((num_rows,), (num_rows, 1)) if name == _VALUES else len(shape) == 2
    if not fits:
        raise _bad_shape(f"{place} {list(shape)}", name)
    if shape[0] != num_rows:
        raise InvalidArgumentError(f"{place} {list(shape)} for {num_rows} rows; {_REMEDY}")


def _bad_shape(what: str, name: str) -> InvalidArgumentError:
    expected = "[rows] or [rows, 1]" if name == _VALUES else "[rows, classes]"
    return InvalidArgumentError(f"{what}, where {expected} is expected; {_REMEDY}")


def _lists(array: np.ndarray) -> RaggedArray:
    """Returns the rows as lists, also those of one item."""
    num_rows, size = array.shape
    return RaggedArray(array.reshape(-1), np.arange(num_rows + 1, dtype=np.int64) * size)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) or "nothing"

"""How ragged inputs are padded: what was bound and what the user said, as options of batching."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from servable_core.batching.length_ladder import LengthLadder
from servable_core.batching.padding import DerivedInput, PaddingOptions
from servable_core.errors import InvalidArgumentError
from servable_core.servables.signature import SignatureSpec, TensorSpec
from transforms.binding import Binding, BoundInput, closest
from transforms.casts import cast_values

_FLOATS = ("float16", "float32", "float64")


def padding_options(
    signature: SignatureSpec,
    binding: Binding,
    pad_values: Mapping[str, str],
    ladder: tuple[int, ...],
) -> PaddingOptions:
    """Returns how the ragged inputs of `binding` are padded.

    Args:
        signature: The signature.
        binding: How its inputs are fed.
        pad_values: What to pad inputs with, as the user wrote it, by their names.
        ladder: Lengths to pad to; empty for the default ones.

    Raises:
        InvalidArgumentError: A pad value is no value of its input's type.
    """
    padded = [each.tensor for each in binding.inputs if each.is_padded]
    unpadded = [each.tensor for each in binding.inputs if not each.tensor.is_dense]
    varies = bool(padded) or any(each.row_width is None for each in unpadded)
    lists = {each.columns: each.tensor for each in binding.inputs if each.takes_lists}
    derived = [
        DerivedInput(
            name=each.tensor.name,
            of=lists[each.columns].name,
            derivation=each.derivation,
            dtype=each.tensor.dtype,
        )
        for each in binding.inputs
        if each.derivation is not None
    ]
    values = {
        each.name: _pad_value(each, pad_values[each.name])
        for each in padded
        if each.name in pad_values
    }
    return PaddingOptions(
        ladder=parse_length_ladder(ladder),
        pad_values=values,
        derived=tuple(derived),
        ragged_outputs=_ragged_outputs(signature) if varies else frozenset(),
        unpadded=tuple(each.name for each in unpadded),
    )


def parse_length_ladder(rungs: tuple[int, ...]) -> LengthLadder:
    """Returns what `--length_ladder` stands for; the default one if it is empty.

    Raises:
        InvalidArgumentError: They are no lengths to pad to.
    """
    try:
        return LengthLadder(rungs=rungs)
    except InvalidArgumentError as error:
        flag = f"--length_ladder={','.join(map(str, rungs))}"
        raise InvalidArgumentError(f"{flag}: {error}") from error


def check_padded_names(names: Iterable[str], inputs: Iterable[BoundInput]) -> None:
    """Checks that what the user gave a pad value for is padded.

    Args:
        names: Inputs that have one.
        inputs: All that are bound, of every signature.

    Raises:
        InvalidArgumentError: One is not.
    """
    padded = sorted({each.tensor.name for each in inputs if each.is_padded})
    for name in names:
        if name not in padded:
            raise InvalidArgumentError(
                f"--pad_values names {name!r}, which is no input that is padded{closest(name, padded)}"
            )


def _pad_value(tensor: TensorSpec, text: str) -> Any:
    if tensor.dtype == "string":
        return text.encode()
    flag = f"--pad_values={tensor.name}={text}"
    number = _number(text)
    if number is None or (isinstance(number, float) and tensor.dtype not in _FLOATS):
        raise InvalidArgumentError(f"{flag}: {text!r} is no value of {tensor}")
    try:
        return cast_values(np.asarray([number]), tensor.dtype, flag)[0]
    except (TypeError, ValueError, OverflowError) as error:  # beyond 64 bits, or no NumPy type
        raise InvalidArgumentError(f"{flag}: {text!r} is no value of {tensor}") from error


def _number(text: str) -> int | float | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return None


def _ragged_outputs(signature: SignatureSpec) -> frozenset[str]:
    """Returns the outputs whose second dimension may be the padded length."""
    return frozenset(
        each.name
        for each in signature.outputs
        if each.is_dense
        and each.shape is not None
        and len(each.shape) > 1
        and each.shape[1] is None
    )

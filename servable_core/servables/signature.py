"""Signatures: the named tensors that a servable takes and returns. No TensorFlow here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from servable_core.errors import NotFoundError


class Encoding(Enum):
    """How the values of a tensor are kept."""

    DENSE = "dense"
    RAGGED = "ragged"
    SPARSE = "sparse"
    UNTOLD = (
        "untold"  # a part of a ragged tensor, or a tensor of its own: the servable does not tell
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorSpec:
    """One input or output of a signature.

    Attributes:
        name: Key in the signature's inputs or outputs; of an input that is fed in parts, the first
            part's.
        dtype: NumPy's name of the element type; "string" for bytes; "composite" for a ragged or
            sparse tensor that does not have one list of values a row.
        shape: Dimensions with None where any size will do; None when even the rank is unknown.
        encoding: How its values are kept. Rows of ragged and sparse inputs are given as lists, in a
            `RaggedArray`.
        parts: Tensors that the servable takes in place of a ragged or sparse input: values and row
            splits; or indices, values and dense shape.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None
    encoding: Encoding = Encoding.DENSE
    parts: tuple["TensorSpec", ...] = ()

    @property
    def is_dense(self) -> bool:
        """Whether it is an array with a place for each value."""
        return self.encoding is Encoding.DENSE

    @property
    def row_width(self) -> int | None:
        """Values of a row of a ragged tensor, or most of them in a sparse one; None if it is open."""
        return self.shape[1] if self.shape is not None and len(self.shape) > 1 else None

    def __str__(self) -> str:
        encoding = "" if self.is_dense else f"{self.encoding.value} "
        return f"{self.name}: {encoding}{self.dtype} {format_shape(self.shape)}"


@dataclass(frozen=True, kw_only=True, slots=True)
class SignatureSpec:
    """A callable of a servable: dict of tensors in, dict of tensors out.

    Attributes:
        name: Name that requests use, such as `serving_default`.
        inputs: Inputs, sorted by name.
        outputs: Outputs, sorted by name.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


class Predictor(Protocol):
    """A servable that answers by signature. Implementations are thread-safe."""

    @property
    def signatures(self) -> Mapping[str, SignatureSpec]:
        """Returns the signatures by name."""

    def predict(
        self, signature_name: str, inputs: Mapping[str, Any], output_names: Sequence[str]
    ) -> dict[str, Any]:
        """Runs one batch.

        Args:
            signature_name: Which signature to run.
            inputs: One array or tensor for each input, of the signature's dtype; a `RaggedArray`
                for one that is ragged or sparse.
            output_names: Outputs to return; the others stay on the device.

        Returns:
            NumPy arrays by output name, `RaggedArray`s of ragged ones; strings are object arrays
            of bytes.
        """


def find_signature(
    signatures: Mapping[str, SignatureSpec],
    name: str,
    model: str,
    *,
    remedy: str = "ask for one of them",
) -> SignatureSpec:
    """Returns the signature called `name`.

    Args:
        signatures: All signatures by name.
        name: The one that is asked for.
        model: Whose they are, for messages.
        remedy: What the message tells to do when there is none of that name.

    Raises:
        NotFoundError: There is none; the message lists those of `model` that exist.
    """
    if name not in signatures:
        present = ", ".join(repr(each) for each in sorted(signatures)) or "none at all"
        raise NotFoundError(f"model {model} has no signature {name!r}; it has {present}: {remedy}")
    return signatures[name]


def format_shape(shape: tuple[int | None, ...] | None) -> str:
    """Returns the shape as users write it: `[None, 32]`, or `[...]` for an unknown rank."""
    if shape is None:
        return "[...]"
    return "[" + ", ".join(str(size) for size in shape) + "]"

"""What writes one output file, whatever its format."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa

from servable_core.errors import InternalError
from transforms.storage import DigestingSink, WrittenFile


@dataclass(frozen=True, kw_only=True, slots=True)
class RowTensors:
    """Rows as the model knows them, for formats that log requests and responses.

    Attributes:
        inputs: What was fed, by the signature's input name, ragged and sparse inputs as `PartRows`;
            empty if it is not wanted.
        outputs: What came back, by output name. All are arrays or `RaggedArray`s with a row for each
            row of the columns beside them.
    """

    inputs: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, Any] = field(default_factory=dict)

    def slice(self, start: int, stop: int) -> "RowTensors":
        """Returns rows [start, stop) without a copy."""
        return RowTensors(
            inputs={name: each[start:stop] for name, each in self.inputs.items()},
            outputs={name: each[start:stop] for name, each in self.outputs.items()},
        )


NO_TENSORS = RowTensors()


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputRows:
    """Some rows of a part.

    Attributes:
        columns: The output columns.
        tensors: The same rows, where the format logs tensors.
    """

    columns: pa.RecordBatch
    tensors: RowTensors = NO_TENSORS


class PartWriter(Protocol):
    """Writes rows into one file. One thread at a time; memory does not grow with the rows."""

    @property
    def rows(self) -> int:
        """Returns the rows written so far."""

    def write(self, columns: pa.RecordBatch, tensors: RowTensors = NO_TENSORS) -> None:
        """Adds rows.

        Args:
            columns: The output columns.
            tensors: The same rows' inputs and outputs, for the formats that say they log them.

        Raises:
            InternalError: The columns are others, or of other types, than those of the first call.
            InvalidArgumentError: The format has no place for a value.
        """

    def close(self) -> None:
        """Writes what is left: from here on the file is whole."""

    def abandon(self) -> None:
        """Gives up, at any time; nothing more is written."""

    def written(self) -> WrittenFile:
        """Returns size and digest of the file; of all of it once it is closed."""


CreateWriter = Callable[[DigestingSink], PartWriter]


def check_same_schema(first: pa.Schema, schema: pa.Schema) -> None:
    """Checks that all rows of a file have the same columns.

    Raises:
        InternalError: They have not; names what changed.
    """
    if not schema.equals(first):
        raise InternalError(
            f"the outputs changed their type within a unit: {_difference(first, schema)}"
        )


def _difference(first: pa.Schema, second: pa.Schema) -> str:
    changed = [
        f"{name} was {first.field(name).type}, is {second.field(name).type}"
        for name in second.names
        if name in first.names and first.field(name).type != second.field(name).type
    ]
    return "; ".join(changed) or f"columns were {first.names}, are {second.names}"

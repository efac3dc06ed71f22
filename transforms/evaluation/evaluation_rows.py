"""Rows as metrics want them: predictions of all versions, labels, weights, slices, blocks and keys.

    rows = EvaluationRows(options, columns, catalog)      one per process or thread; immutable
    batch = rows.batch(predicted.columns, predicted.outputs)

`prediction_choice` finds the output that is evaluated, and the task. What is wrong with a single row
is left to the metrics' own checks, which count it: a label outside of the task's domain becomes -1, a
missing or unreadable one NaN, a missing prediction NaN.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from servable_core.errors import InvalidArgumentError
from transforms.binding import closest
from transforms.evaluation.prediction_arrays import to_numbers, to_scores, to_scores_by_class
from transforms.evaluation.row_identity import (
    example_keys,
    key_numbers,
    named_column,
    row_blocks,
)
from transforms.evaluation.row_labels import to_labels
from transforms.evaluation.slice_catalog import SliceCatalog
from transforms.metrics import EvaluationBatch, EvaluationOptions, Task
from transforms.metrics.array_types import Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationColumns:
    """Which columns say what.

    Attributes:
        prediction: Output of the models that is evaluated.
        classes: Output with the name of the class of each of its scores; None where their places tell.
        class_names: Names of the classes in the order of the scores; empty if nobody names them.
        label: Column with the truth, or None.
        weight: Column with the weights, or None.
        example_key: Column that identifies a row; None for its file and number.
        cluster_key: Column of what rows are dependent within, or None.
        versions: The versions' names, for messages.
    """

    prediction: str
    classes: str | None = None
    class_names: tuple[str, ...] = ()
    label: str | None = None
    weight: str | None = None
    example_key: str | None = None
    cluster_key: str | None = None
    versions: tuple[str, ...] = ()


class EvaluationRows:
    """Makes batches for the metrics. Immutable, so any number of threads may use it."""

    def __init__(
        self, options: EvaluationOptions, columns: EvaluationColumns, catalog: SliceCatalog
    ) -> None:
        self._options = options
        self._columns = columns
        self._catalog = catalog

    def batch(
        self, columns: pa.RecordBatch, outputs: Sequence[pa.RecordBatch | None]
    ) -> EvaluationBatch:
        """Returns rows with the predictions of each version.

        Args:
            columns: Of the data.
            outputs: For each version its outputs for the same rows, nulls where it has none; None
                where it has none of all of them.

        Raises:
            InvalidArgumentError: A column or output is missing, or of a type or shape that does not
                do, or versions differ in their shapes.
        """
        given = self._columns
        label, weight = (
            None if name is None else named_column(columns, name, flag)
            for name, flag in ((given.label, "--label"), (given.weight, "--weight"))
        )
        key = given.example_key
        key_hashes = None if key is None else key_numbers(columns, (key,))
        # Text takes long to hash, so no column is hashed twice.
        cluster_key = None if given.cluster_key == key else given.cluster_key
        return EvaluationBatch(
            predictions=self._predictions(outputs, columns.num_rows),
            slice_ids=self._catalog.slice_ids(columns),
            blocks=row_blocks(columns, key_hashes, cluster_key, self._options.num_blocks),
            labels=None if label is None else self._labels(label),
            weights=None if weight is None else _weights(weight),
            example_keys=example_keys(columns, key),
            key_hashes=key_hashes,
        )

    def _labels(self, column: pa.Array) -> Floats:
        names = () if self._options.task is Task.REGRESSION else self._columns.class_names
        return to_labels(column, names)

    def _predictions(self, outputs: Sequence[pa.RecordBatch | None], num_rows: int) -> Floats:
        found = [
            None if own is None else self._of_version(own, version)
            for version, own in enumerate(outputs)
        ]
        # A version without any predictions must not change the type of the others.
        types = [each.dtype for each in found if each is not None] or [np.dtype(np.float64)]
        absent = np.full(self._shape(num_rows), np.nan, dtype=np.result_type(*types))
        return np.stack([absent if each is None else each for each in found])

    def _shape(self, num_rows: int) -> tuple[int, ...]:
        if self._options.task is Task.MULTICLASS:
            return (num_rows, self._options.num_classes)
        return (num_rows,)

    def _of_version(self, outputs: pa.RecordBatch, version: int) -> Floats:
        names = self._columns.versions
        what = f"{self._columns.prediction!r} of version {names[version] if names else version}"
        column = _output(outputs, self._columns.prediction, what)
        if not _is_list(column.type):
            return self._checked_number(to_numbers(column, what), what)
        if self._options.task is Task.REGRESSION:
            raise _bad_shape(what, column.type, "one number a row is")
        num_classes = self._options.num_classes if self._options.task is Task.MULTICLASS else 2
        if self._columns.classes is None:
            scores = to_scores(column, num_classes, what)
        else:
            classes = _output(outputs, self._columns.classes, what)
            scores = to_scores_by_class(column, classes, self._columns.class_names, what)
        return scores[:, 1] if self._options.task is Task.BINARY else scores

    def _checked_number(self, numbers: Floats, what: str) -> Floats:
        if self._options.task is Task.MULTICLASS:
            raise _bad_shape(what, "one number a row", "scores of all classes are")
        return numbers


def _weights(column: pa.Array) -> Floats:
    """Returns the weights in 64 bits, in which they are added up."""
    return to_numbers(column, "the weight column").astype(np.float64, copy=False)


def _output(outputs: pa.RecordBatch, name: str, what: str) -> pa.Array:
    if name not in outputs.schema.names:
        raise InvalidArgumentError(
            f"{what}: there is no output {name!r}{closest(name, outputs.schema.names)}"
        )
    return outputs.column(name)


def _is_list(data_type: pa.DataType) -> bool:
    """Whether values are lists, of more than the one number that TFRecords put in one."""
    if pa.types.is_fixed_size_list(data_type):
        return bool(data_type.list_size != 1)
    return bool(pa.types.is_nested(data_type))


def _bad_shape(what: str, found: object, expected: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"{what} is {found}, where {expected} expected; give another --prediction or --task"
    )

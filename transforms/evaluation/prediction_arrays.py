"""Predictions as arrays: numbers, or the scores of all classes, of one version."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from servable_core.errors import InvalidArgumentError
from transforms.evaluation.single_values import single_values
from transforms.evaluation.slice_values import value_names
from transforms.metrics.array_types import Floats


def to_numbers(column: pa.Array, what: str) -> Floats:
    """Returns a column as floats, null as NaN; float32 and float64 stay what they are.

    Raises:
        InvalidArgumentError: It does not hold one number a row.
    """
    column = single_values(column)
    types = pa.types
    if types.is_float16(column.type):
        column = column.cast(pa.float32())
    elif not (types.is_float32(column.type) or types.is_float64(column.type)):
        is_number = types.is_integer(column.type) or types.is_decimal(column.type)
        if not (is_number or types.is_boolean(column.type) or types.is_null(column.type)):
            raise InvalidArgumentError(
                f"{what} is {column.type}, where one number a row is expected; name another column"
            )
        column = column.cast(pa.int8()) if types.is_boolean(column.type) else column
        column = column.cast(pa.float64(), safe=False)
    numbers: Floats = column.to_numpy(zero_copy_only=False)
    return numbers


def to_scores(column: pa.Array, num_scores: int, what: str) -> Floats:
    """Returns lists of scores as [rows, scores], NaN where a list is null.

    Raises:
        InvalidArgumentError: Lists are of another length.
    """
    lengths = _lengths(column, what)
    is_there = ~np.isnan(lengths)
    if (lengths[is_there] != num_scores).any():
        other = int(lengths[is_there & (lengths != num_scores)][0])
        raise InvalidArgumentError(
            f"{what} has a row of {other} scores, where {num_scores} are expected"
        )
    values = to_numbers(column.flatten(), what)
    scores = np.full((len(column), num_scores), np.nan, dtype=values.dtype)
    scores[is_there] = values.reshape(-1, num_scores)
    return scores


def to_scores_by_class(
    column: pa.Array, classes: pa.Array, class_names: Sequence[str], what: str
) -> Floats:
    """Returns scores in the order of `class_names`, in whatever order each row names its classes.

    A row is NaN whose classes are not these, each once.

    Raises:
        InvalidArgumentError: Scores and classes are not lists of one length.
    """
    lengths = _lengths(column, what)
    if not np.array_equal(lengths, _lengths(classes, what), equal_nan=True):
        raise InvalidArgumentError(f"{what} has rows with other numbers of classes than of scores")
    values = to_numbers(column.flatten(), what)
    encoded = classes.flatten().dictionary_encode()
    names = value_names(encoded.dictionary)
    of_name = pc.index_in(names, pa.array(class_names, pa.string())).fill_null(-1).to_numpy()
    places = np.append(of_name, -1)[encoded.indices.fill_null(len(names)).to_numpy()]
    rows = np.repeat(np.arange(len(column)), np.nan_to_num(lengths).astype(np.int64))
    scores = np.full((len(column), len(class_names) + 1), np.nan, dtype=values.dtype)
    scores[rows, places] = values  # unknown classes end in the last column
    known = scores[:, :-1]
    known[(lengths != len(class_names)) | np.isnan(known).any(axis=1)] = np.nan
    return known


def are_lists(data_type: pa.DataType) -> bool:
    """Whether values are lists, however a file holds them."""
    kinds = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(is_kind(data_type) for is_kind in kinds)


def _lengths(column: pa.Array, what: str) -> Floats:
    """Returns the length of each list, NaN for null."""
    if not are_lists(column.type):
        raise InvalidArgumentError(
            f"{what} is {column.type}, where a list of scores is expected; give another --prediction or --task"
        )
    lengths: Floats = pc.list_value_length(column).cast(pa.float64()).to_numpy(zero_copy_only=False)
    return lengths

"""Labels as the numbers that metrics take: 0 and 1, indices of classes, or quantities."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from servable_core.errors import InvalidArgumentError
from transforms.evaluation.prediction_arrays import to_numbers
from transforms.evaluation.single_values import is_text, single_values
from transforms.evaluation.slice_values import value_names
from transforms.metrics.array_types import Floats

# Of no task's domain, so that the metrics count it as a bad label.
_BAD_LABEL = -1


def to_labels(column: pa.Array, class_names: Sequence[str]) -> Floats:
    """Returns labels as numbers: null as NaN, a name that is none of the classes as -1.

    Args:
        column: Numbers, bools, or names of classes.
        class_names: In the order of the scores; empty if classes have no names. Numbers are names,
            too, where all names are whole numbers; else they are places in that order.

    Raises:
        InvalidArgumentError: The column is of another type.
    """
    column = single_values(column)
    if is_text(column.type):
        return _named(column, class_names)
    numbers = to_numbers(column, "the label column").astype(np.float64)
    if not class_names or not all(map(_is_whole_number, class_names)):
        return numbers
    return _places_of(numbers, [int(each) for each in class_names])


def _is_whole_number(name: str) -> bool:
    return name.removeprefix("-").isdecimal()


def _named(column: pa.Array, class_names: Sequence[str]) -> Floats:
    if not class_names:
        raise InvalidArgumentError(
            f"labels are {column.type}, and nothing names the classes; name them in the configuration in the order of the scores, as classes: [cat, dog]"
        )
    encoded = column.dictionary_encode()
    names = value_names(encoded.dictionary)
    known = pc.index_in(names, pa.array(class_names, pa.string())).fill_null(_BAD_LABEL)
    places = np.append(known.to_numpy().astype(np.float64), np.nan)
    found: Floats = places[encoded.indices.fill_null(len(names)).to_numpy()]
    return found


def _places_of(numbers: Floats, classes: Sequence[int]) -> Floats:
    order = np.argsort(classes)
    in_order = np.array(classes, dtype=np.float64)[order]
    places = np.minimum(np.searchsorted(in_order, numbers), len(classes) - 1)
    found = np.where(in_order[places] == numbers, order[places].astype(np.float64), _BAD_LABEL)
    return np.where(np.isnan(numbers), np.nan, found)

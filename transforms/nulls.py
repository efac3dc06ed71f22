"""What becomes of rows with nulls, which no tensor can hold. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from servable_core.errors import InvalidArgumentError
from transforms.bad_records import Stage
from transforms.dead_letters import bad_rows
from transforms.input_batch import InputBatch
from transforms.row_selection import select_rows


class OnNull(Enum):
    """What is done about a null in a column that feeds a model."""

    ERROR = "error"
    DEFAULT = "default"
    DEAD_LETTER = "dead_letter"


@dataclass(frozen=True, kw_only=True, slots=True)
class NullPolicy:
    """`--on_null`, parsed.

    Attributes:
        action: What is done.
        default: With DEFAULT, what stands in for a null, as given; each column reads it as its type.
    """

    action: OnNull = OnNull.ERROR
    default: str = ""

    def __str__(self) -> str:
        if self.action is OnNull.DEFAULT:
            return f"{self.action.value}:{self.default}"
        return self.action.value


def parse_null_policy(text: str) -> NullPolicy:
    """Returns the policy that `error`, `default:VALUE` or `dead_letter` stands for.

    Raises:
        InvalidArgumentError: `text` is none of these.
    """
    action, colon, default = text.partition(":")
    if action == OnNull.DEFAULT.value and colon:
        return NullPolicy(action=OnNull.DEFAULT, default=default)
    if not colon and action in (OnNull.ERROR.value, OnNull.DEAD_LETTER.value):
        return NullPolicy(action=OnNull(action))
    raise InvalidArgumentError(
        f"--on_null must be error, default:VALUE (such as default:0) or dead_letter, got {text!r}"
    )


def apply_null_policy(
    batch: pa.RecordBatch, columns: Sequence[str], policy: NullPolicy
) -> tuple[pa.RecordBatch, np.ndarray]:
    """Returns the batch with nulls treated, and which of its rows are bad.

    ERROR changes nothing and marks nothing, for making tensors refuses nulls with a message.
    DEFAULT fills nulls among values, also within lists. A list that is null becomes one of nothing
    but defaults where its type tells how long it is, and else an empty one. DEAD_LETTER changes
    nothing, but marks each row with a null anywhere in `columns`.

    Args:
        batch: Some rows.
        columns: Those of its columns that may have no nulls; others are left alone.
        policy: What to do.

    Raises:
        InvalidArgumentError: The default is no value of a column that has nulls.
    """
    bad = np.zeros(batch.num_rows, np.bool_)
    if policy.action is OnNull.ERROR:
        return batch, bad
    for name in columns:
        array = batch.column(name)
        if not has_nulls(array):
            continue
        if policy.action is OnNull.DEAD_LETTER:
            bad |= null_rows(array)
        else:
            index = batch.schema.get_field_index(name)
            filled = _filled(array, _default_of(policy, array.type, name), None)
            batch = batch.set_column(index, batch.schema.field(index), filled.cast(array.type))
    return batch, bad


def without_nulls(batch: InputBatch, columns: Sequence[str], policy: NullPolicy) -> InputBatch:
    """Returns the batch with nulls treated, and with DEAD_LETTER, rows that have some as bad records.

    Args:
        batch: Some rows.
        columns: Those of its columns that may have no nulls.
        policy: What to do.

    Raises:
        InvalidArgumentError: The default is no value of a column that has nulls.
    """
    rows, bad = apply_null_policy(batch.columns, columns, policy)
    if not bad.any():
        return batch if rows is batch.columns else replace(batch, columns=rows)
    nulls = {name: null_rows(batch.columns.column(name)) for name in columns}
    rows_with_nulls: list[int] = np.flatnonzero(bad).tolist()
    errors = [_null_error([name for name in nulls if nulls[name][row]]) for row in rows_with_nulls]
    letters = bad_rows(batch, rows_with_nulls, Stage.BIND, errors)
    return replace(select_rows(batch, ~bad), bad_records=(*batch.bad_records, *letters))


def _null_error(names: Sequence[str]) -> InvalidArgumentError:
    listed = ", ".join(map(repr, names))
    return InvalidArgumentError(f"column {listed}: there is a null, but a tensor has none")


def check_default(policy: NullPolicy, schema: pa.Schema, columns: Sequence[str]) -> None:
    """Checks that the default is a value of each of `columns`.

    Raises:
        InvalidArgumentError: It is not; the message names the column and its type.
    """
    if policy.action is OnNull.DEFAULT:
        for name in columns:
            _default_of(policy, schema.field(name).type, name)


def has_nulls(array: pa.Array) -> bool:
    """Returns whether the array has a null, or its lists have one."""
    if array.null_count:
        return True
    if _is_list(array.type):
        return has_nulls(array.flatten())
    return pa.types.is_dictionary(array.type) and array.dictionary.null_count > 0


def null_rows(array: pa.Array) -> np.ndarray:
    """Returns in which places there is a null, or a list with one in it."""
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    bad: np.ndarray = array.is_null().to_numpy(zero_copy_only=False)
    if _is_list(array.type):
        inner = null_rows(array.flatten())
        parents = pc.list_parent_indices(array).to_numpy()
        bad = bad.copy()
        bad[parents[inner]] = True
    return bad


def _is_list(data_type: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_list(data_type)
        or types.is_large_list(data_type)
        or types.is_fixed_size_list(data_type)
    )


def _default_of(policy: NullPolicy, data_type: pa.DataType, name: str) -> pa.Scalar:
    while _is_list(data_type) or pa.types.is_dictionary(data_type):
        data_type = data_type.value_type
    try:
        if pa.types.is_float16(data_type):  # Arrow parses no text as such
            return pa.scalar(np.float16(policy.default), data_type)
        return pa.scalar(policy.default, pa.string()).cast(data_type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        raise InvalidArgumentError(
            f"--on_null={policy}: {policy.default!r} is no value of column {name!r}, which is {data_type}; give one that is, or fill the nulls with --preprocess"
        ) from error


def _filled(array: pa.Array, default: pa.Scalar, forced: np.ndarray | None) -> pa.Array:
    """Returns `array` with the default for each null, and wherever `forced` says so.

    What a null list of fixed size has in its slots is anything, so they are forced.
    """
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_fixed_size_list(array.type):
        return _filled_fixed(array, default, forced)
    if _is_list(array.type):
        return _filled_lists(array, default, forced)
    if forced is not None and forced.any():
        array = pc.if_else(pa.array(forced), default, array)
    return array.fill_null(default)


def _filled_fixed(array: pa.Array, default: pa.Scalar, forced: np.ndarray | None) -> pa.Array:
    size = array.type.list_size
    null = array.is_null().to_numpy(zero_copy_only=False)
    null = null if forced is None else null | forced
    values = array.values.slice(array.offset * size, len(array) * size)
    filled = _filled(values, default, np.repeat(null, size))
    return pa.FixedSizeListArray.from_arrays(filled, size)


def _filled_lists(array: pa.Array, default: pa.Scalar, forced: np.ndarray | None) -> pa.Array:
    empty = pa.scalar([], array.type)
    if forced is not None and forced.any():
        array = pc.if_else(pa.array(forced), empty, array)
    array = array.fill_null(empty)
    offsets = pc.subtract(array.offsets, array.offsets[0])
    make = pa.LargeListArray if pa.types.is_large_list(array.type) else pa.ListArray
    return make.from_arrays(offsets, _filled(array.flatten(), default, None))

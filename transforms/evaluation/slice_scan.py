"""The pass over the slice columns alone that tells which slices there are, before any inference."""

import itertools
from collections.abc import Iterator, Sequence

import pyarrow as pa

from servable_core.errors import InvalidArgumentError
from transforms.bad_records import Stage
from transforms.batch_isolation import isolate
from transforms.binding import closest
from transforms.evaluation.slice_counts import SliceCounts
from transforms.evaluation.slices import SliceSpec
from transforms.formats.text_types import type_from_text
from transforms.formats.tfrecord import Feature
from transforms.formats.tfrecord_options import tfrecord_options
from transforms.input_batch import SOURCE_FILE_COLUMN, SOURCE_ROW_COLUMN, InputBatch
from transforms.plan import Plan
from transforms.process_unit import preprocessed
from transforms.read_unit import ReadOptions, read_unit
from transforms.unit_table import Unit
from transforms.user_functions import BatchFunction, load_function

_BATCH_ROWS = 1 << 16
_SOURCES = frozenset([SOURCE_FILE_COLUMN, SOURCE_ROW_COLUMN])


def scan_unit(unit: Unit, plan: Plan, specs: Sequence[SliceSpec]) -> SliceCounts:
    """Returns the counts of one unit's rows; add them up with `SliceCounts.merge`.

    Reads the slice columns alone, unless a function of the user's makes them of others.

    Raises:
        InvalidArgumentError: A slice column is missing, or is of a type that does not do.
        DataLossError: The input is corrupt.
    """
    wanted = {name for spec in specs if spec.needs_scan for name in spec.columns}
    counts = (SliceCounts.of_rows(specs, columns) for columns in _rows(unit, plan, wanted))
    return SliceCounts.merge(itertools.chain([SliceCounts.of_specs(specs)], counts))


def _rows(unit: Unit, plan: Plan, wanted: set[str]) -> Iterator[pa.RecordBatch]:
    preprocess = load_function("--preprocess", plan.content.preprocess)
    if preprocess is None:
        columns, with_source = tuple(sorted(wanted - _SOURCES)), bool(wanted & _SOURCES)
        _check_columns(columns, plan)
    else:  # which may make them of any columns
        columns, with_source = plan.read_columns, plan.content.key is None
    options = _read_options(plan, columns, with_source=with_source)
    for batch in read_unit(unit, plan.inputs, options, lambda _: None):
        if preprocess is None:
            yield batch.columns
        else:
            yield from _preprocess(batch, preprocess, plan)


def _check_columns(columns: Sequence[str], plan: Plan) -> None:
    missing = [name for name in columns if name not in plan.read_columns]
    if missing:
        raise InvalidArgumentError(
            f"slice column {missing[0]!r} is not among those that are read{closest(missing[0], plan.read_columns)}"
        )


def _preprocess(
    batch: InputBatch, preprocess: BatchFunction, plan: Plan
) -> Iterator[pa.RecordBatch]:
    def apply(start: int, stop: int) -> pa.RecordBatch:
        return preprocessed(batch.slice(start, stop), preprocess, plan.content.key).columns

    if not plan.content.keeps_bad_records:
        yield apply(0, batch.num_rows)
        return
    for _, columns in isolate(batch, apply, Stage.PREPROCESS).results:
        yield columns


def _read_options(plan: Plan, columns: tuple[str, ...], *, with_source: bool) -> ReadOptions:
    content = plan.content
    features = {name: plan.features[name] for name in columns if name in plan.features}
    return ReadOptions(
        input_format=content.input_format,
        columns=columns,
        features=tuple(
            Feature(
                name=name,
                value_type=type_from_text(each[0]),
                length=each[1],
                is_sequence=each[2],
            )
            for name, each in features.items()
        ),
        with_records=False,
        with_source=with_source,
        batch_rows=lambda: _BATCH_ROWS,
        sample=content.sample,
        sample_seed=content.sample_seed,
        on_error=content.on_error,
        tfrecord=tfrecord_options(content.crc, content.on_error),
    )

"""Predictions that were saved by `precompute`, in place of models.

    saved = plan_saved(["out"], model_name=None, baseline=1, candidates=(2,), example_key=None)
    saved = plan_saved(["1=out1", "2=out2"], ...)      directories of one version each
    for unit in saved.units:                           the baseline's parts; in any order, anywhere
        counts = scan_saved(unit, saved, specs)        the slice columns alone
        for rows in read_saved(unit, saved, columns=(...), outputs=(...)):   PredictedRows

Labels, weights, slices and keys come from the baseline's files, which were written with
`--passthrough`. Rows of the other versions are found by key: at once where they are in the same files
in the same order, else by an index of all keys of that version; then a key that comes twice, in that
version or in the baseline, is refused. A row that a version lacks has null predictions; a row that the
baseline lacks is not evaluated.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from servable_core.errors import InvalidArgumentError, NotFoundError
from transforms.binding import closest
from transforms.evaluation.predicted_rows import PredictedRows
from transforms.evaluation.row_identity import SOURCE_KEY
from transforms.evaluation.saved_index import FoundRows, SavedIndexes
from transforms.evaluation.saved_parts import read_part
from transforms.evaluation.saved_versions import SavedVersion, find_versions
from transforms.evaluation.single_values import single_type
from transforms.evaluation.slice_counts import SliceCounts
from transforms.evaluation.slices import SliceSpec

_indexes = SavedIndexes()


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedPredictions:
    """Saved predictions of several versions. Immutable; can be pickled.

    Attributes:
        model_name: The model.
        versions: The baseline first.
        key: Columns that identify a row in all versions: one, or file and row number.
    """

    model_name: str
    versions: tuple[SavedVersion, ...]
    key: tuple[str, ...]

    @property
    def baseline(self) -> SavedVersion:
        """The version that the others are compared with."""
        return self.versions[0]

    @property
    def units(self) -> range:
        """The units of work: the baseline's files, by their index."""
        return range(len(self.baseline.parts))

    def output_names(self, columns: Sequence[str]) -> tuple[str, ...]:
        """Returns the columns that may be outputs of the models.

        Args:
            columns: Columns that the evaluation uses for something else.
        """
        others = {*self.key, *columns}.union(*(each.copied for each in self.versions))
        names = dict.fromkeys(name for each in self.versions for name in each.schema.names)
        return tuple(name for name in names if name not in others)


def plan_saved(
    locations: Sequence[str],
    *,
    model_name: str | None = None,
    baseline: int | None = None,
    candidates: Sequence[int] = (),
    example_key: str | None = None,
) -> SavedPredictions:
    """Finds saved predictions; reads footers only.

    Args:
        locations: `DIR`, an output directory of `precompute`, or `VERSION=DIR`; several.
        model_name: Which model, where there are several.
        baseline: None for the lowest version.
        candidates: Empty for all others; one version alone is compared with nothing.
        example_key: Column that identifies a row; None for what the predictions were written with.

    Raises:
        InvalidArgumentError: What is there does not go together, or is not complete.
        NotFoundError: Nothing is there, or not that version.
        DataLossError: A file is corrupt.
    """
    found = find_versions(locations, model_name)
    first = min(found) if baseline is None else baseline
    others = tuple(candidates) or tuple(sorted(found.keys() - {first}))
    missing = [each for each in (first, *others) if each not in found]
    if missing:
        raise NotFoundError(
            f"--predictions has none of version {missing[0]}, but of {', '.join(map(str, sorted(found)))}"
        )
    if first in others:
        raise InvalidArgumentError(
            f"there is nothing to compare version {first} with: --predictions has versions {', '.join(map(str, sorted(found)))}; name a baseline and other candidates"
        )
    versions = tuple(found[each] for each in (first, *others))
    return SavedPredictions(
        model_name=versions[0].model_name,
        versions=versions,
        key=_common_key(versions, example_key),
    )


def _common_key(versions: Sequence[SavedVersion], example_key: str | None) -> tuple[str, ...]:
    """Returns the columns that identify rows in all versions."""
    key: tuple[str, ...] = SOURCE_KEY
    if example_key is not None:
        key = (example_key,)
    elif any(set(SOURCE_KEY) - set(each.schema.names) for each in versions):
        recorded = versions[0].key
        if recorded is None:
            raise InvalidArgumentError(
                "nothing identifies the rows of the predictions; give --example_key, a column that all versions were written with"
            )
        key = (recorded,)
    for each in versions:
        absent = [name for name in key if name not in each.schema.names]
        if absent:
            raise InvalidArgumentError(
                f"the predictions of version {each.version} have no column {absent[0]!r} to match rows by{closest(absent[0], each.schema.names)}; precompute all versions with --key={absent[0]}"
            )
    _check_same_kind(versions, key)
    return key


def _check_same_kind(versions: Sequence[SavedVersion], key: tuple[str, ...]) -> None:
    """Checks that no version has numbers where another has texts: none would match."""
    first, *others = versions
    for name in key:
        types = [single_type(each.schema.field(name).type) for each in (first, *others)]
        for other, data_type in zip(others, types[1:], strict=True):
            if pa.types.is_integer(data_type) != pa.types.is_integer(types[0]):
                raise InvalidArgumentError(
                    f"column {name!r}, which rows are matched by, is {types[0]} in version {first.version} and {data_type} in version {other.version}; precompute both from the same data"
                )


def read_saved(
    unit: int, saved: SavedPredictions, columns: Sequence[str], outputs: Sequence[str]
) -> Iterator[PredictedRows]:
    """Yields the rows of a part of the baseline, with the predictions of all versions.

    Args:
        unit: One of `saved.units`.
        saved: All of them.
        columns: Columns of the data that are wanted beside the key.
        outputs: Columns of predictions that are wanted; a version has those of them that it has.

    Raises:
        InvalidArgumentError: A key comes twice, where rows are not in the same order.
        DataLossError: A file is corrupt.
    """
    own = list(dict.fromkeys([*saved.key, *columns]))
    of_baseline = [name for name in outputs if name in saved.baseline.schema.names]
    wanted = list(dict.fromkeys([*own, *of_baseline]))
    others = [_VersionRows(each, saved, unit, outputs) for each in saved.versions[1:]]
    for rows in read_part(saved.baseline.parts[unit], wanted):
        keys = rows.select(list(saved.key))
        found = [each.take(keys) for each in others]
        yield PredictedRows(
            columns=rows.select(own),
            outputs=(rows.select(of_baseline), *(each.rows for each in found)),
            num_found=(rows.num_rows, *(each.num_found for each in found)),
        )


class _VersionRows:
    """The rows of one version that go with those of a part of the baseline. One thread at a time."""

    def __init__(
        self, version: SavedVersion, saved: SavedPredictions, unit: int, outputs: Sequence[str]
    ) -> None:
        self._version = version
        self._baseline = saved.baseline
        self._key = saved.key
        self._outputs = [name for name in outputs if name in version.schema.names]
        parts = version.parts[unit : unit + 1]
        wanted = list(dict.fromkeys([*saved.key, *self._outputs]))
        self._pieces = itertools.chain.from_iterable(read_part(each, wanted) for each in parts)

    def take(self, keys: pa.RecordBatch) -> FoundRows:
        """Returns the outputs for the next keys."""
        piece = next(self._pieces, None)
        if piece is not None and _are_equal(piece.select(list(self._key)), keys):
            return FoundRows(piece.select(self._outputs), piece.num_rows)
        index = _indexes.get(self._version, self._baseline, self._key)
        return index.take(keys, self._outputs)


def _are_equal(some: pa.RecordBatch, others: pa.RecordBatch) -> bool:
    return some.num_rows == others.num_rows and all(
        one.equals(other) for one, other in zip(some.columns, others.columns, strict=True)
    )


def scan_saved(unit: int, saved: SavedPredictions, specs: Sequence[SliceSpec]) -> SliceCounts:
    """Returns the counts of the slice columns in a part of the baseline.

    Raises:
        InvalidArgumentError: A slice column is missing, or is of a type that does not do.
        DataLossError: The file is corrupt.
    """
    wanted = sorted({name for spec in specs if spec.needs_scan for name in spec.columns})
    own = [name for name in wanted if name in saved.baseline.schema.names]
    pieces = read_part(saved.baseline.parts[unit], own)
    counts = (SliceCounts.of_rows(specs, each) for each in pieces)
    return SliceCounts.merge(itertools.chain([SliceCounts.of_specs(specs)], counts))

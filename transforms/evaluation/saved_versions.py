"""Finds the predictions that were saved of versions: directories, files, schemas."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import unquote

import pyarrow as pa

from servable_core.errors import InvalidArgumentError, NotFoundError
from servable_core.runtime.executor import create_executor
from servable_core.runtime.file_system import FileInfo
from transforms.finalize import SUCCESS_FILE
from transforms.formats.parquet import ParquetFooter, read_footer
from transforms.plan_files import PLAN_FILE
from transforms.storage import absolute_path, file_system_for, read_bytes, stat_file

_NUM_FOOTER_THREADS = 8
_LOCATION = re.compile(r"(?:([0-9]+)=)?(.+)", re.DOTALL)
_PART = re.compile(r"(?:.*/)?model_name=([^/]*)/model_version=([0-9]+)/[^/]+")
_SUFFIX = ".parquet"


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedPart:
    """A file of predictions.

    Attributes:
        path: The file.
        num_rows: Its rows.
        num_groups: Its row groups.
        size_bytes: Its length.
        mtime_secs: Its last change, by which what was read of it is known to be old.
    """

    path: str
    num_rows: int
    num_groups: int
    size_bytes: int
    mtime_secs: float


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedVersion:
    """What was saved of one version.

    Attributes:
        model_name: The model.
        version: The version.
        parts: Its files with rows, sorted by name.
        schema: Of all of them.
        key: Column that its rows were written with as their key, if that is known.
        copied: Columns that are known to be copied from the data.
        fingerprint: Of the model that predicted, if that is known.
    """

    model_name: str
    version: int
    parts: tuple[SavedPart, ...]
    schema: pa.Schema
    key: str | None = None
    copied: tuple[str, ...] = ()
    fingerprint: str = ""

    @property
    def num_rows(self) -> int:
        """Rows in all of its files."""
        return sum(each.num_rows for each in self.parts)


def find_versions(locations: Sequence[str], model_name: str | None) -> dict[int, SavedVersion]:
    """Returns the versions that were saved at some places; reads footers only.

    Args:
        locations: `DIR`, an output directory of `precompute` with any number of versions; or
            `VERSION=DIR`, one with a single version, or with Parquet files and nothing else.
        model_name: Which model, where there are several.

    Raises:
        InvalidArgumentError: It is not clear what is meant, a job is not done, or files are of
            different kinds.
        NotFoundError: There is nothing.
        DataLossError: A file is corrupt.
    """
    found: dict[int, SavedVersion] = {}
    for location in locations:
        match = _LOCATION.fullmatch(location)
        if match is None:
            raise InvalidArgumentError("--predictions is empty: give DIR, or VERSION=DIR")
        for each in _versions_at(location, match[1], absolute_path(match[2]), model_name):
            if each.version in found:
                raise InvalidArgumentError(
                    f"--predictions={location}: predictions of version {each.version} are in another place, too; tell them apart as VERSION=DIR"
                )
            found[each.version] = each
    return found


def _versions_at(
    location: str, version: str | None, directory: str, model_name: str | None
) -> list[SavedVersion]:
    place = f"--predictions={location}"
    files = _visible(directory, file_system_for(directory).list_files(directory))
    by_version = _by_version(files)
    if not by_version and version is not None and files:
        by_version = {(model_name or "", int(version)): files}
    if not by_version:
        raise NotFoundError(
            f"{place}: no predictions are in {directory}, where model_name=NAME/model_version=N/*.parquet is expected; give the --output of a precompute job"
        )
    _check_done(place, directory)
    chosen = _of_model(place, by_version, model_name)
    if version is not None:
        chosen = _only_version(place, chosen, int(version))
    recorded = _recorded(directory)
    return [
        _describe(place, model, number, own, recorded)
        for (model, number), own in sorted(chosen.items())
    ]


_Files = Mapping[tuple[str, int], Sequence[FileInfo]]


def _visible(directory: str, files: Iterable[FileInfo]) -> list[FileInfo]:
    prefix = directory.rstrip("/") + "/"
    return sorted(
        each
        for each in files
        if not any(
            part.startswith(("_", ".")) for part in each.path.removeprefix(prefix).split("/")
        )
    )


def _by_version(files: Iterable[FileInfo]) -> dict[tuple[str, int], list[FileInfo]]:
    found: dict[tuple[str, int], list[FileInfo]] = {}
    for each in files:
        match = _PART.fullmatch(each.path)
        if match is not None:
            found.setdefault((unquote(match[1]), int(match[2])), []).append(each)
    return found


def _check_done(place: str, directory: str) -> None:
    is_job = stat_file(f"{directory}/{PLAN_FILE}") is not None
    if is_job and stat_file(f"{directory}/{SUCCESS_FILE}") is None:
        raise InvalidArgumentError(
            f"{place}: the job that writes there is not done ({SUCCESS_FILE} is missing); finish it with --if_exists=resume"
        )


def _of_model(place: str, found: _Files, model_name: str | None) -> _Files:
    names = sorted({model for model, _ in found})
    if model_name is None and len(names) > 1:
        raise InvalidArgumentError(
            f"{place} has predictions of {', '.join(names)}; choose one with --model_name"
        )
    chosen = {key: own for key, own in found.items() if key[0] == (model_name or names[0])}
    if not chosen:
        raise NotFoundError(
            f"{place} has no predictions of --model_name={model_name}; it has those of {', '.join(names)}"
        )
    return chosen


def _only_version(place: str, found: _Files, version: int) -> _Files:
    for (model, number), files in found.items():
        if number == version or len(found) == 1:  # what it is called there does not matter
            return {(model, version): files}
    raise NotFoundError(
        f"{place}: version {version} is not there, but {', '.join(str(number) for _, number in sorted(found))}"
    )


_NO_FINGERPRINTS: Mapping[tuple[str, int], str] = MappingProxyType({})


class _Recorded(NamedTuple):
    """What the plan of the job that wrote predictions says of them."""

    key: str | None = None
    copied: tuple[str, ...] = ()
    fingerprints: Mapping[tuple[str, int], str] = _NO_FINGERPRINTS


def _recorded(directory: str) -> _Recorded:
    content = read_bytes(f"{directory}/{PLAN_FILE}")
    if content is None:
        return _Recorded()
    try:
        plan = json.loads(content)
        options = plan["content"]
        fingerprints = {
            (each["name"], each["version"]): each["fingerprint"] for each in plan["models"]
        }
        return _Recorded(options["key"], tuple(options["passthrough"]), fingerprints)
    except (ValueError, KeyError, TypeError):  # of another release, and not needed
        return _Recorded()


def _describe(
    place: str, model_name: str, version: int, files: Sequence[FileInfo], recorded: _Recorded
) -> SavedVersion:
    others = [each.path for each in files if not each.path.endswith(_SUFFIX)]
    if others:
        raise InvalidArgumentError(
            f"{place}: {others[0]} is no Parquet file, and only those can be evaluated; precompute with --output_format=parquet"
        )
    with create_executor(_NUM_FOOTER_THREADS, "footers") as executor:
        footers = list(executor.map(read_footer, [each.path for each in files]))
    parts = [_part(file, footer) for file, footer in zip(files, footers, strict=True)]
    with_rows = [
        (part, footer) for part, footer in zip(parts, footers, strict=True) if part.num_rows
    ]
    if not with_rows:
        raise NotFoundError(f"{place}: the predictions of version {version} have no rows")
    schema = with_rows[0][1].schema
    for part, footer in with_rows:
        if not footer.schema.equals(schema):
            raise InvalidArgumentError(
                f"{place}: {part.path} has other columns than {with_rows[0][0].path}: {footer.schema.to_string(show_field_metadata=False)}; write all files of a version alike"
            )
    return SavedVersion(
        model_name=model_name,
        version=version,
        parts=tuple(part for part, _ in with_rows),
        schema=schema,
        key=recorded.key,
        copied=recorded.copied,
        fingerprint=recorded.fingerprints.get((model_name, version), ""),
    )


def _part(file: FileInfo, footer: ParquetFooter) -> SavedPart:
    return SavedPart(
        path=file.path,
        num_rows=sum(each.num_rows for each in footer.row_groups),
        num_groups=len(footer.row_groups),
        size_bytes=file.size_bytes,
        mtime_secs=file.mtime_secs,
    )

"""Resolves which model versions a job runs, checks them structurally, and pins them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from servable_core.errors import InvalidArgumentError, NotFoundError
from servable_core.servables.saved_model.fingerprint import fingerprint_version
from servable_core.servables.saved_model.structure import read_signatures
from servable_core.servables.signature import SignatureSpec
from servable_core.sources.storage_path_versions import VersionDirectory, storage_path_versions
from servable_core.sources.version_selection import VersionPolicy, select_versions
from transforms.plan import PinnedModel
from transforms.storage import absolute_path, file_system_for, is_local


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolvedModel:
    """A pinned version with what was read of it.

    Attributes:
        pinned: Identity, place and fingerprint.
        signatures: Its signatures by name.
    """

    pinned: PinnedModel
    signatures: Mapping[str, SignatureSpec]

    @property
    def label(self) -> str:
        """Returns `name/version`, for messages."""
        return str(self.pinned.servable_id)


def list_versions(base_path: str, place: str | None = None) -> dict[int, VersionDirectory]:
    """Returns the numeric version directories below `base_path`.

    Args:
        base_path: Absolute path or URI.
        place: Where the user gave it, for messages; the flag if None.

    Raises:
        NotFoundError: The path does not exist, is empty, or has no numeric directory with files.
        InvalidArgumentError: It is a file.
    """
    place = place or f"--model_base_path={base_path}"
    file_system = file_system_for(base_path)
    files = file_system.list_files(base_path)
    if not files:
        if is_local(base_path) and Path(base_path).is_file():
            raise InvalidArgumentError(
                f"{place} is a file; expected the directory of a model's versions"
            )
        raise NotFoundError(
            f"{place} does not exist or is empty; expected versions below it, such as {base_path}/1/saved_model.pb"
        )
    versions = storage_path_versions(base_path, files)
    if not versions:
        raise NotFoundError(
            f"{place} has no version directory: a version is a directory with a number for a name, such as {base_path}/1/saved_model.pb{_parent_hint(base_path, [each.path for each in files])}"
        )
    return versions


def find_versions(
    base_path: str, policy: VersionPolicy, place: str | None = None
) -> dict[int, VersionDirectory]:
    """Returns the version directories that `policy` selects, ascending.

    Raises:
        NotFoundError: No such path or version.
    """
    return select_directories(list_versions(base_path, place), base_path, policy, place)


def select_directories(
    versions: Mapping[int, VersionDirectory],
    base_path: str,
    policy: VersionPolicy,
    place: str | None = None,
) -> dict[int, VersionDirectory]:
    """Returns those of the directories below `base_path` that `policy` selects, ascending.

    Raises:
        NotFoundError: No such version.
    """
    try:
        selected = select_versions(policy, list(versions))
    except NotFoundError as error:
        where = place or f"--model_base_path={base_path}"
        hint = "" if place else "; choose with --model_version"
        raise NotFoundError(f"{where}: {error}{hint}") from error
    return {number: versions[number] for number in selected}


def _parent_hint(base_path: str, paths: list[str]) -> str:
    parent, _, last = base_path.rstrip("/").rpartition("/")
    if last.isdigit() and f"{base_path.rstrip('/')}/saved_model.pb" in paths:
        return f"; it looks like a version itself: give --model_base_path={parent} --model_version={last}"
    return ""


def resolve_models(
    base_path: str, name: str | None, policy: VersionPolicy, place: str | None = None
) -> list[ResolvedModel]:
    """Returns the versions that `policy` selects, ascending, each checked and fingerprinted.

    `place` is where the user gave the base path, for messages; None is the flag.

    Raises:
        NotFoundError: No such path or version.
        DataLossError: A selected version is corrupt or half-copied.
    """
    base_path = absolute_path(base_path)
    selected = find_versions(base_path, policy, place)
    servable_name = name or model_name_of(base_path)
    return [_resolve(servable_name, number, directory) for number, directory in selected.items()]


def model_name_of(base_path: str) -> str:
    """Returns what the model at a base path is called where nobody says: its last directory."""
    return base_path.rstrip("/").rpartition("/")[2] or base_path


def _resolve(name: str, version: int, directory: VersionDirectory) -> ResolvedModel:
    file_system = file_system_for(directory.path)
    signatures = read_signatures(directory.path, directory.files, file_system)
    fingerprint = fingerprint_version(directory.path, directory.files, file_system)
    pinned = PinnedModel(name=name, version=version, path=directory.path, fingerprint=fingerprint)
    return ResolvedModel(pinned=pinned, signatures=signatures)

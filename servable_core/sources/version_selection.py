"""Which of the versions present are wanted: pure, and the same online and in batch jobs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from servable_core.errors import InvalidArgumentError, NotFoundError

_EXPECTED = "expected 'latest', 'latest:N', 'all', a version like '3', or a list like '3,5'"


@dataclass(frozen=True, slots=True)
class LatestVersions:
    """The `num_versions` highest versions."""

    num_versions: int = 1

    def __post_init__(self) -> None:
        if self.num_versions < 1:
            raise InvalidArgumentError(f"num_versions must be 1 or more, got {self.num_versions}")


@dataclass(frozen=True, slots=True)
class AllVersions:
    """Every version present."""


@dataclass(frozen=True, slots=True)
class SpecificVersions:
    """These versions and no others."""

    versions: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.versions:
            raise InvalidArgumentError("versions must name at least one version")


@dataclass(frozen=True, slots=True)
class KeptVersions:
    """What one policy asks for, and besides what a former one did, as far as it is there.

    For the time in which what is wanted takes the place of what is kept.
    """

    wanted: "VersionPolicy"
    kept: "VersionPolicy"


VersionPolicy: TypeAlias = LatestVersions | AllVersions | SpecificVersions | KeptVersions


def select_versions(policy: VersionPolicy, available: Sequence[int]) -> list[int]:
    """Returns the versions that `policy` picks among `available`, ascending and distinct.

    Raises:
        NotFoundError: If a specific version is not there; names the versions that are.
    """
    present = sorted(set(available))
    match policy:
        case LatestVersions(num_versions):
            return present[-num_versions:]
        case AllVersions():
            return present
        case SpecificVersions(versions):
            return _select_specific(versions, present)
        case KeptVersions(wanted, kept):
            return sorted({*select_versions(wanted, present), *select_present(kept, present)})


def select_present(policy: VersionPolicy, available: Sequence[int]) -> list[int]:
    """Like `select_versions`, but leaves out specific versions that are not there."""
    match policy:
        case SpecificVersions(versions):
            return sorted(set(versions) & set(available))
        case KeptVersions(wanted, kept):
            return sorted({*select_present(wanted, available), *select_present(kept, available)})
        case _:
            return select_versions(policy, available)


def _select_specific(versions: Sequence[int], present: list[int]) -> list[int]:
    wanted = sorted(set(versions))
    missing = [version for version in wanted if version not in set(present)]
    if missing:
        raise NotFoundError(
            f"version {', '.join(map(str, missing))} not found; "
            f"versions present: {', '.join(map(str, present)) or 'none'}"
        )
    return wanted


def parse_version_policy(text: str) -> VersionPolicy:
    """Reads `latest`, `latest:2`, `all`, `3` or `3,5`.

    Raises:
        InvalidArgumentError: If `text` is none of these; says what was expected.
    """
    kind, separator, argument = text.strip().partition(":")
    if kind == "latest":
        return LatestVersions(_parse_number(argument, text) if separator else 1)
    if text.strip() == "all":
        return AllVersions()
    return SpecificVersions(tuple(_parse_number(part, text) for part in text.split(",")))


def _parse_number(part: str, text: str) -> int:
    digits = part.strip()
    # int() also takes signs, underscores and the digits of other scripts.
    if not (digits.isascii() and digits.isdecimal()):
        raise InvalidArgumentError(f"bad version {text!r}: {_EXPECTED}")
    return int(digits)

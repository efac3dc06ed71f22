"""Follows the versions below one base path from listing to listing, and tells the complete ones.

Pure: listings and times in, a new watch out.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from servable_core.runtime.file_system import FileInfo
from servable_core.sources.storage_path_versions import VersionDirectory
from servable_core.sources.version_completeness import (
    FindMissing,
    Sighting,
    find_temporary_name,
    has_old_mtimes,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ListingTime:
    """When a listing was taken.

    Attributes:
        now: Monotonic seconds.
        wall_time: Unix seconds, to compare with times of change.
    """

    now: float
    wall_time: float


@dataclass(frozen=True, kw_only=True, slots=True)
class BasePathWatch:
    """What is known of the versions below a base path; immutable.

    A version once complete stays so while its directory holds any file: what is loaded must not be
    unloaded because somebody touches a file.

    Attributes:
        is_first: Whether nothing has been listed yet.
        complete: Versions that may be aspired, and their directories, lowest first.
        lacking: What each of the versions that may not be aspired lacks.
        settling: Versions that lack nothing, but have yet to come to rest.
        rest_secs: Monotonic time at which one of those may be at rest; None without one.
    """

    is_first: bool = True
    complete: Mapping[int, str] = field(default_factory=dict)
    lacking: Mapping[int, str] = field(default_factory=dict)
    settling: frozenset[int] = frozenset()
    rest_secs: float | None = None
    sightings: Mapping[int, Sighting] = field(default_factory=dict)

    @property
    def pending(self) -> dict[int, str]:
        """Why each version that is there may not be aspired, lowest version first."""
        settling = dict.fromkeys(self.settling, "it is new or has just changed")
        return dict(sorted({**self.lacking, **settling}.items()))

    def failed(self) -> "BasePathWatch":
        """Returns the watch after a listing that failed: what was known is still believed."""
        return replace(self, is_first=False, settling=frozenset(), rest_secs=None)

    def left(self) -> "BasePathWatch":
        """Returns the watch to go on with after a time in which nobody looked.

        What was complete need not come to rest again, unless it looks different by then.
        """
        sightings = {
            version: replace(each, since_secs=-math.inf) if version in self.complete else each
            for version, each in self.sightings.items()
        }
        return BasePathWatch(is_first=self.is_first, sightings=sightings)

    def observe(
        self,
        versions: Mapping[int, VersionDirectory],
        time: ListingTime,
        settle_secs: float,
        find_missing: FindMissing,
    ) -> "BasePathWatch":
        """Returns the watch after a listing.

        Args:
            versions: The version directories found.
            time: When.
            settle_secs: How long a version must look the same; 0 believes the first look.
            find_missing: Tells what a version of this platform lacks.
        """
        sightings = {each: self._sight(each, versions[each], time) for each in versions}
        new = [version for version in versions if version not in self.complete]
        found = {version: _find_lacking(versions[version], find_missing) for version in new}
        lacking = {version: reason for version, reason in found.items() if reason is not None}
        settling = frozenset(
            version
            for version in new
            if version not in lacking
            and not self._is_settled(sightings[version], time, settle_secs)
        )
        return BasePathWatch(
            is_first=False,
            complete={
                version: directory.path
                for version, directory in versions.items()
                if version not in lacking and version not in settling
            },
            lacking=lacking,
            settling=settling,
            rest_secs=min(
                (sightings[version].since_secs + settle_secs for version in settling), default=None
            ),
            sightings=sightings,
        )

    def _sight(self, version: int, directory: VersionDirectory, time: ListingTime) -> Sighting:
        last = self.sightings.get(version)
        if last is not None and last.files == directory.files:
            return last
        return Sighting(directory.files, time.now)

    def _is_settled(self, sighting: Sighting, time: ListingTime, settle_secs: float) -> bool:
        if time.now - sighting.since_secs >= settle_secs:
            return True
        return self.is_first and has_old_mtimes(sighting.files, time.wall_time, settle_secs)


def _find_lacking(directory: VersionDirectory, find_missing: FindMissing) -> str | None:
    files = _by_relative_path(directory)
    temporary = find_temporary_name(files)
    if temporary is not None:
        return f"it holds the temporary file {temporary}"
    return find_missing(files)


def _by_relative_path(directory: VersionDirectory) -> dict[str, FileInfo]:
    # Listings may spell the base path in another way, as PurePosixPath does.
    base = PurePosixPath(directory.path)
    return {str(PurePosixPath(file.path).relative_to(base)): file for file in directory.files}

"""One servable of a file-system source: what is watched, what is known, what is aspired. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from servable_core.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from servable_core.lifecycle.servable_data import ServableData
from servable_core.lifecycle.servable_id import ServableId
from servable_core.sources.base_path_watch import BasePathWatch, ListingTime
from servable_core.sources.storage_path_versions import VersionDirectory
from servable_core.sources.version_completeness import FindMissing, accept_any
from servable_core.sources.version_selection import (
    LatestVersions,
    VersionPolicy,
    select_present,
    select_versions,
)

_MAX_NUM_FORMER_WATCHES = 4  # a failed reload goes back by one; more would only take memory


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchedServable:
    """What to watch for one servable.

    Attributes:
        base_path: Directory of the version directories, local or a URI.
        version_policy: Which of the complete versions are aspired.
        find_missing: Tells what a version directory still lacks; platforms have one.
    """

    base_path: str
    version_policy: VersionPolicy = field(default_factory=LatestVersions)
    find_missing: FindMissing = accept_any

    def __post_init__(self) -> None:
        if not self.base_path:
            raise InvalidArgumentError("base_path must be a directory or a URI, got ''")


@dataclass(frozen=True, kw_only=True, slots=True)
class StoragePathStatus:
    """What a source knows of one servable, for people to read.

    Attributes:
        base_path: Where it looks.
        present: Versions that have a directory below it, ascending.
        aspired: Those that were asked for last, ascending.
        kept: Versions of a former base path that stay until there is something to aspire to here.
        pending: Why each version that is there, but not complete, is not aspired.
        settling: Those of the pending versions that only have yet to come to rest.
        is_listed: Whether the base path was looked at since it is watched like this.
        error: What is wrong: the base path is missing, cannot be listed, holds no version or not
            those asked for. None if all is well.
    """

    base_path: str
    present: tuple[int, ...] = ()
    aspired: tuple[int, ...] = ()
    kept: tuple[int, ...] = ()
    pending: Mapping[int, str] = field(default_factory=dict)
    settling: frozenset[int] = frozenset()
    is_listed: bool = False
    error: Exception | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ServableWatch:
    """All that is known of one servable; immutable.

    Attributes:
        name: Name of the servable.
        servable: What is watched.
        base_path_watch: The versions found.
        former_watches: What was found below former base paths, for the way back; the last few.
        aspired: Those asked for last, and their directories.
        keeps_former: Whether those are of a former base path.
        error: What is wrong.
        is_failed: Whether the last listing told nothing, so that there is no news for the target.
        is_listed: Whether there was a listing since the servable is watched like this.
        listing_number: Listings with a lower number are stale.
    """

    name: str
    servable: WatchedServable
    base_path_watch: BasePathWatch = field(default_factory=BasePathWatch)
    former_watches: Mapping[str, BasePathWatch] = field(default_factory=dict)
    aspired: Mapping[int, str] = field(default_factory=dict)
    keeps_former: bool = False
    error: Exception | None = None
    is_failed: bool = False
    is_listed: bool = False
    listing_number: int = -1

    @property
    def status(self) -> StoragePathStatus:
        """What users are told."""
        watch = self.base_path_watch
        aspired = tuple(self.aspired)
        return StoragePathStatus(
            base_path=self.servable.base_path,
            present=tuple(watch.sightings),
            aspired=() if self.keeps_former else aspired,
            kept=aspired if self.keeps_former else (),
            pending=watch.pending,
            settling=watch.settling,
            is_listed=self.is_listed,
            error=self.error,
        )

    def updated(self, servable: WatchedServable, number: int) -> "ServableWatch":
        """Returns the watch under a new configuration; what is aspired stays until a listing.

        A new base path takes over when it has a version to aspire to, or no version at all. What
        was found complete below a former one is believed again on the way back.

        Args:
            servable: What to watch from now on.
            number: Listings with a lower number began before.
        """
        if servable == self.servable:
            return self
        if servable.base_path == self.servable.base_path:
            return replace(self, servable=servable, is_listed=False, listing_number=number)
        former = {path: w for path, w in self.former_watches.items() if path != servable.base_path}
        former[self.servable.base_path] = self.base_path_watch.left()
        return ServableWatch(
            name=self.name,
            servable=servable,
            base_path_watch=self.former_watches.get(servable.base_path, BasePathWatch()),
            former_watches=dict(list(former.items())[-_MAX_NUM_FORMER_WATCHES:]),
            aspired=self.aspired,
            keeps_former=bool(self.aspired),
            listing_number=number,
        )

    def failed(self, error: Exception, number: int) -> "ServableWatch":
        """Returns the watch after a listing that failed: what is aspired stays."""
        return replace(
            self,
            base_path_watch=self.base_path_watch.failed(),
            error=error,
            is_failed=True,
            is_listed=True,
            listing_number=number,
        )

    def listed(
        self,
        versions: Mapping[int, VersionDirectory],
        time: ListingTime,
        number: int,
        *,
        settle_secs: float,
        always_present: bool,
    ) -> "ServableWatch":
        """Returns the watch after a listing.

        Where it leaves nothing to aspire to, what is aspired stays if `always_present`, or if it is
        of a former base path and the new one has versions, only none that will do yet.
        """
        watch = self.base_path_watch.observe(
            versions, time, settle_secs, self.servable.find_missing
        )
        selected, error = self._select(watch)
        aspired = {version: watch.complete[version] for version in selected}
        awaits_first = self.keeps_former and bool(versions)
        keeps_last = not aspired and bool(self.aspired) and (always_present or awaits_first)
        if keeps_last:
            aspired = dict(self.aspired)
            error = error if awaits_first else self._refusal()
        return replace(
            self,
            base_path_watch=watch,
            aspired=aspired,
            keeps_former=self.keeps_former and keeps_last,
            error=error,
            is_failed=False,
            is_listed=True,
            listing_number=number,
        )

    def aspired_versions(self) -> list[ServableData[str]]:
        """Returns the full list for the target: each aspired version and its directory."""
        return [
            ServableData.of(ServableId(self.name, version), path)
            for version, path in self.aspired.items()
        ]

    def _select(self, watch: BasePathWatch) -> tuple[list[int], Exception | None]:
        policy = self.servable.version_policy
        complete = sorted(watch.complete)
        try:
            selected = select_versions(policy, complete)
        except NotFoundError as error:
            reasons = "; ".join([str(error), *_pending_in_words(watch)])
            message = f"servable {self.name!r} below {self.servable.base_path}: {reasons}"
            return select_present(policy, complete), NotFoundError(message)
        return selected, None if selected else self._no_version_error(watch)

    def _refusal(self) -> FailedPreconditionError:
        versions = ", ".join(map(str, self.aspired))
        return FailedPreconditionError(
            f"servable {self.name!r}: no version that is wanted is left below {self.servable.base_path}; refusing to unload version {versions}, the last"
        )

    def _no_version_error(self, watch: BasePathWatch) -> NotFoundError:
        hints = _pending_in_words(watch) or [
            "name each version's directory as a number, as in '1/'"
        ]
        return NotFoundError(
            f"servable {self.name!r} has no version below {self.servable.base_path}: {'; '.join(hints)}"
        )


def _pending_in_words(watch: BasePathWatch) -> list[str]:
    return [f"version {v} is not complete yet: {why}" for v, why in watch.pending.items()]

"""One look at the base path of a servable: what was found, when, and what follows from it."""

from collections.abc import Mapping
from dataclasses import dataclass

from servable_core.errors import InternalError, NotFoundError, ServableCoreError, UnavailableError
from servable_core.runtime.clock import Clock
from servable_core.runtime.file_system import FileSystem, directory_exists
from servable_core.sources.base_path_watch import ListingTime
from servable_core.sources.storage_path_versions import VersionDirectory, storage_path_versions
from servable_core.sources.watched_servable import ServableWatch


@dataclass(frozen=True, kw_only=True, slots=True)
class BasePathListing:
    """What a look has found; immutable.

    Attributes:
        polled: The servable as it was watched when the look began.
        number: Looks that begin later have higher numbers.
        time: When it began.
        outcome: The version directories, or why there is no telling.
    """

    polled: ServableWatch
    number: int
    time: ListingTime
    outcome: Mapping[int, VersionDirectory] | Exception

    def is_stale(self, watch: ServableWatch) -> bool:
        """Returns whether a newer look is in, or the servable is watched otherwise by now."""
        return watch.servable != self.polled.servable or self.number < watch.listing_number

    def apply(
        self, watch: ServableWatch, *, settle_secs: float, always_present: bool
    ) -> ServableWatch:
        """Returns the watch after this look, which must not be stale."""
        if isinstance(self.outcome, Exception):
            return watch.failed(self.outcome, self.number)
        try:
            return watch.listed(
                self.outcome,
                self.time,
                self.number,
                settle_secs=settle_secs,
                always_present=always_present,
            )
        except Exception as error:  # noqa: BLE001 - find_missing is not ours
            message = f"versions of servable {watch.name!r} cannot be checked: {error!r}"
            return watch.failed(InternalError(message), self.number)


def list_base_path(
    polled: ServableWatch, number: int, file_system: FileSystem, clock: Clock
) -> BasePathListing:
    """Looks at a base path, however long that takes; a failure is an outcome too."""
    time = ListingTime(now=clock.now(), wall_time=clock.wall_time())
    outcome = _find_versions(polled.name, polled.servable.base_path, file_system)
    return BasePathListing(polled=polled, number=number, time=time, outcome=outcome)


def _find_versions(
    name: str, base_path: str, file_system: FileSystem
) -> dict[int, VersionDirectory] | Exception:
    try:
        files = file_system.list_files(base_path)
        if not files and not directory_exists(file_system, base_path):
            return NotFoundError(
                f"base path {base_path} of servable {name!r} does not exist, or holds no files; expected directories like {base_path}/1 in it"
            )
        return storage_path_versions(base_path, files)
    except ServableCoreError as error:
        return error
    except Exception as error:  # noqa: BLE001 - of any storage; it concerns this servable only
        return UnavailableError(
            f"base path {base_path} of servable {name!r} cannot be listed: {error}"
        )

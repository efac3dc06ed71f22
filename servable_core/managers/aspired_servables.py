"""The books of an `AspiredVersionsManager`: a stream for each servable, and which have changed.

So a change costs as much as its own servable has versions, however many others there are. No
thread is safe without the owner's lock.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from servable_core.errors import InvalidArgumentError
from servable_core.lifecycle.loader import Loader
from servable_core.lifecycle.servable_data import ServableData
from servable_core.lifecycle.servable_id import ServableId
from servable_core.lifecycle.servable_state import AspiredServableStateSnapshot, ManagerState
from servable_core.managers.aspired_stream import AspiredStream
from servable_core.managers.basic_manager import BasicManager
from servable_core.runtime.clock import Clock
from servable_core.runtime.retry import RetryOptions


class AspiredServables:
    """All servables that have or had aspired versions, by name; not thread-safe.

    Args:
        manager: Does what is requested here, later, in its own `step`.
        reload_retry: How often and how fast a failed version is managed anew while it is aspired.
        clock: Times the back-off.
    """

    def __init__(self, manager: BasicManager, *, reload_retry: RetryOptions, clock: Clock) -> None:
        self._manager = manager
        self._reload_retry = reload_retry
        self._clock = clock
        self._streams: dict[str, AspiredStream] = {}
        self._changed: set[str] = set()
        self._retry_secs: dict[str, float] = {}

    def aspire(self, servable_name: str, versions: Sequence[ServableData[Loader[Any]]]) -> None:
        """Notes a list for `update`; it replaces one that is still waiting."""
        stream = self._streams.get(servable_name)
        if stream is None:
            stream = AspiredStream(
                servable_name, self._manager, reload_retry=self._reload_retry, clock=self._clock
            )
            self._streams[servable_name] = stream
        stream.aspire(versions)
        self.note_change(servable_name)

    def note_change(self, servable_name: str) -> None:
        """Has `take_changed` return a servable."""
        self._changed.add(servable_name)

    def drop_pending(self) -> None:
        """Forgets the lists that are still waiting."""
        for stream in self._streams.values():
            stream.drop_pending()

    def renew_failed(self, servable_name: str) -> bool:
        """Has failed versions loaded anew with the next list; returns whether there are any."""
        stream = self._streams.get(servable_name)
        return stream is not None and stream.renew_failed()

    def take_changed(self) -> list[str]:
        """Returns the servables that have changed since the last call, or that are due; sorted."""
        now = self._clock.now()
        due = {name for name, secs in self._retry_secs.items() if secs <= now}
        changed, self._changed = self._changed | due, set()
        return sorted(name for name in changed if name in self._streams)

    def update(self, servable_name: str) -> bool:
        """Does what a servable needs without asking a policy; returns whether there was anything.

        See `AspiredStream.update`.
        """
        stream = self._streams[servable_name]
        has_changed = stream.update()
        self._note_retry(servable_name, stream.retry_secs)
        if stream.is_empty:
            del self._streams[servable_name]
        return has_changed

    def snapshots(self, servable_name: str) -> list[AspiredServableStateSnapshot]:
        """Returns what a policy sees of a servable, lowest version first."""
        stream = self._streams.get(servable_name)
        return [] if stream is None else stream.snapshots()

    @property
    def next_retry_secs(self) -> float | None:
        """When the next failed version is due; None if none is."""
        return min(self._retry_secs.values(), default=None)

    def is_in_force(self, servable_name: str) -> bool:
        """Whether the newest list of a servable was taken over, rather than still waiting."""
        stream = self._streams.get(servable_name)
        return stream is None or stream.is_in_force

    def find_error(self, servable_id: ServableId) -> Exception | None:
        """Returns why a version has failed, unless another incarnation is on its way."""
        stream = self._streams.get(servable_id.name)
        return None if stream is None else stream.find_error(servable_id)

    def is_available(self, servable_id: ServableId) -> bool:
        """Whether the servable can be obtained."""
        state = self._manager.find_state(servable_id)
        return state is not None and state.manager_state is ManagerState.AVAILABLE

    def describe(self, servable_ids: Iterable[ServableId]) -> str:
        """Returns the states of some servables, in words."""
        return ", ".join(f"{each} ({self._describe_one(each)})" for each in servable_ids)

    def _describe_one(self, servable_id: ServableId) -> str:
        state = self._manager.harness_states(servable_id.name).get(servable_id)
        return "not managed" if state is None else state.value

    def _note_retry(self, servable_name: str, retry_secs: float | None) -> None:
        if retry_secs is None:
            self._retry_secs.pop(servable_name, None)
        else:
            self._retry_secs[servable_name] = retry_secs


def check_versions(servable_name: str, servable_ids: Sequence[ServableId]) -> None:
    """Checks a list of aspired versions.

    Raises:
        InvalidArgumentError: If an id has another name, or comes twice.
    """
    for servable_id in servable_ids:
        if servable_id.name != servable_name:
            raise InvalidArgumentError(
                f"{servable_id} is no version of servable {servable_name!r}: "
                "all versions of a list carry its name"
            )
    if len(set(servable_ids)) != len(servable_ids):
        raise InvalidArgumentError(
            f"versions of {servable_name!r} must be distinct, "
            f"got {', '.join(map(str, servable_ids))}"
        )

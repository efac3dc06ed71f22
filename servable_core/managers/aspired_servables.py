"""The books of an `AspiredVersionsManager`: what is aspired, what waits, what is tried again.

Only books and requests: nothing here waits, loads or unloads, and no thread is safe without the
owner's lock.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from servable_core.errors import InvalidArgumentError
from servable_core.lifecycle.loader import Loader
from servable_core.lifecycle.servable_data import ServableData
from servable_core.lifecycle.servable_id import ServableId
from servable_core.lifecycle.servable_state import AspiredServableStateSnapshot, HarnessState
from servable_core.managers.basic_manager import BasicManager
from servable_core.runtime.clock import Clock
from servable_core.runtime.retry import RetryOptions

_ENDED = frozenset({HarnessState.DISABLED, HarnessState.ERROR})
_States = Mapping[ServableId, HarnessState]


@dataclass(slots=True, eq=False)
class _Version:
    """One managed version.

    Attributes:
        data: The loader to use should it have to be loaded again; the newest one offered.
        is_aspired: Whether the newest list names it.
        num_failures: Loads that have failed since it was last aspired anew.
        retry_secs: When a failed load is tried again; None while that is not known or not due.
    """

    data: ServableData[Loader[Any]]
    is_aspired: bool = True
    num_failures: int = 0
    retry_secs: float | None = None


class AspiredServables:
    """All versions that are or were aspired; not thread-safe.

    Args:
        manager: Does what is requested here, later, in its own `step`.
        reload_retry: How often and how fast a failed version is managed anew while it is aspired.
        clock: Times the back-off.
    """

    def __init__(self, manager: BasicManager, *, reload_retry: RetryOptions, clock: Clock) -> None:
        self._manager = manager
        self._reload_retry = reload_retry
        self._clock = clock
        self._versions: dict[ServableId, _Version] = {}
        self._pending: dict[str, list[ServableData[Loader[Any]]]] = {}

    def aspire(self, servable_name: str, versions: Sequence[ServableData[Loader[Any]]]) -> None:
        """Notes a list for `update`; it replaces one that is still waiting."""
        self._pending[servable_name] = list(versions)

    def drop_pending(self) -> None:
        """Forgets the lists that are still waiting."""
        self._pending.clear()

    def update(self) -> bool:
        """Does all that can be done without asking a policy; returns whether there was anything.

        Forgets versions that nobody wants and that hold nothing, takes over waiting lists, and
        manages failed versions anew when their time has come.
        """
        states = self._manager.harness_states()
        has_flushed = self._flush(states)
        has_applied = self._apply_pending(states)
        return self._retry_failed(states) or has_flushed or has_applied

    def streams(self) -> list[list[AspiredServableStateSnapshot]]:
        """Returns what a policy sees of each servable, lowest version first."""
        states = self._manager.harness_states()
        by_name: dict[str, list[AspiredServableStateSnapshot]] = {}
        for servable_id, version in sorted(self._versions.items(), key=lambda item: item[0]):
            snapshot = AspiredServableStateSnapshot(
                servable_id=servable_id,
                state=states[servable_id],
                is_aspired=version.is_aspired,
            )
            by_name.setdefault(servable_id.name, []).append(snapshot)
        return list(by_name.values())

    @property
    def next_retry_secs(self) -> float | None:
        """When the next failed version is due; None if none is."""
        due = (version.retry_secs for version in self._versions.values() if version.is_aspired)
        return min((secs for secs in due if secs is not None), default=None)

    def is_in_force(self, servable_name: str) -> bool:
        """Whether the newest list of a servable was taken over, rather than still waiting."""
        return servable_name not in self._pending

    def find_error(self, servable_id: ServableId) -> Exception | None:
        """Returns why a version has failed, unless another incarnation is on its way."""
        version = self._versions.get(servable_id)
        if version is None or not version.is_aspired or servable_id.name in self._pending:
            return None
        states = self._manager.states(servable_id.name)
        return next((state.error for state in states if state.servable_id == servable_id), None)

    def is_available(self, servable_id: ServableId) -> bool:
        """Whether the servable can be obtained."""
        return self._manager.harness_states().get(servable_id) is HarnessState.READY

    def describe(self, servable_ids: Iterable[ServableId]) -> str:
        """Returns the states of some servables, in words."""
        states = self._manager.harness_states()
        return ", ".join(
            f"{servable_id} ({states[servable_id].value if servable_id in states else 'not managed'})"
            for servable_id in servable_ids
        )

    def _flush(self, states: _States) -> bool:
        unwanted = [i for i, version in self._versions.items() if not version.is_aspired]
        for servable_id in unwanted:
            if states[servable_id] is HarnessState.NEW:
                # Cancelled before it begins, it ends like any other load, and is told to have.
                self._manager.cancel_load(servable_id)
                self._manager.load_servable(servable_id)
        gone = [servable_id for servable_id in unwanted if states[servable_id] in _ENDED]
        for servable_id in gone:
            self._manager.stop_managing_servable(servable_id)
            del self._versions[servable_id]
        return bool(gone)

    def _apply_pending(self, states: _States) -> bool:
        """Takes over waiting lists.

        A list that re-aspires a version which is going away waits until that is flushed. A
        version that still serves, because nothing better did, is just taken back.
        """
        ready = [n for n, versions in self._pending.items() if self._may_apply(versions, states)]
        for name in ready:
            self._apply(name, self._pending.pop(name), states)
        return bool(ready)

    def _may_apply(self, versions: Iterable[ServableData[Loader[Any]]], states: _States) -> bool:
        former = ((v.servable_id, self._versions.get(v.servable_id)) for v in versions)
        return all(
            version is None or version.is_aspired or states[servable_id] is HarnessState.READY
            for servable_id, version in former
        )

    def _apply(
        self, servable_name: str, versions: Sequence[ServableData[Loader[Any]]], states: _States
    ) -> None:
        aspired = {version.servable_id for version in versions}
        for servable_id, former in self._versions.items():
            if servable_id.name == servable_name and servable_id not in aspired:
                former.is_aspired = False
                self._manager.cancel_load(servable_id)
        for data in versions:
            self._aspire_version(data, states.get(data.servable_id))

    def _aspire_version(self, data: ServableData[Loader[Any]], state: HarnessState | None) -> None:
        former = self._versions.get(data.servable_id)
        if former is None:
            self._manager.manage_servable(data)
            self._versions[data.servable_id] = _Version(data)
            return
        former.is_aspired = True
        if data.error is None and state is not HarnessState.READY:
            if former.data.error is not None:
                former.retry_secs = self._clock.now()  # what the source could not give is there
            former.data = data

    def _retry_failed(self, states: _States) -> bool:
        failed = [i for i, state in states.items() if state is HarnessState.ERROR]
        has_retried = False
        for servable_id in failed:
            version = self._versions.get(servable_id)
            if version is not None and version.is_aspired and version.data.error is None:
                has_retried |= self._retry_version(servable_id, version)
        return has_retried

    def _retry_version(self, servable_id: ServableId, version: _Version) -> bool:
        now = self._clock.now()
        if version.retry_secs is None and version.num_failures < self._reload_retry.max_num_retries:
            version.retry_secs = now + self._reload_retry.backoff_secs(version.num_failures)
            version.num_failures += 1
        if version.retry_secs is None or version.retry_secs > now:
            return False
        version.retry_secs = None
        self._manager.stop_managing_servable(servable_id)
        self._manager.manage_servable(version.data)
        return True


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

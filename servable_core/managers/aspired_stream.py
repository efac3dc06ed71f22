"""The books of one servable: which versions are aspired, which wait, which are tried again.

Only books and requests: nothing here waits, loads or unloads, and no thread is safe without the
owner's lock.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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


class AspiredStream:
    """All versions of one servable that are or were aspired; not thread-safe.

    Args:
        servable_name: Which servable.
        manager: Does what is requested here, later, in its own `step`.
        reload_retry: How often and how fast a failed version is managed anew while it is aspired.
        clock: Times the back-off.
    """

    def __init__(
        self,
        servable_name: str,
        manager: BasicManager,
        *,
        reload_retry: RetryOptions,
        clock: Clock,
    ) -> None:
        self._servable_name = servable_name
        self._manager = manager
        self._reload_retry = reload_retry
        self._clock = clock
        self._versions: dict[ServableId, _Version] = {}
        self._pending: list[ServableData[Loader[Any]]] | None = None
        self._is_renewing = False  # failures do not count until the next list is taken over

    def aspire(self, versions: Sequence[ServableData[Loader[Any]]]) -> None:
        """Notes a list for `update`; it replaces one that is still waiting."""
        self._pending = list(versions)

    def drop_pending(self) -> None:
        """Forgets a list that is still waiting."""
        self._pending = None

    def renew_failed(self) -> bool:
        """Has failed versions loaded anew with the next list; returns whether there are any."""
        states = self._manager.harness_states(self._servable_name)
        has_failed = any(
            version.is_aspired and states.get(servable_id) is HarnessState.ERROR
            for servable_id, version in self._versions.items()
        )
        self._is_renewing |= has_failed
        return has_failed

    def update(self) -> bool:
        """Does all that can be done without asking a policy; returns whether there was anything.

        Forgets versions that nobody wants and that hold nothing, takes over a waiting list, and
        manages failed versions anew when their time has come.
        """
        states = self._manager.harness_states(self._servable_name)
        has_flushed = self._flush(states)
        has_applied = self._apply_pending(states)
        return self._retry_failed(states) or has_flushed or has_applied

    def snapshots(self) -> list[AspiredServableStateSnapshot]:
        """Returns what a policy sees, lowest version first."""
        states = self._manager.harness_states(self._servable_name)
        return [
            AspiredServableStateSnapshot(
                servable_id=servable_id,
                state=states[servable_id],
                is_aspired=self._versions[servable_id].is_aspired,
            )
            for servable_id in sorted(self._versions)
        ]

    @property
    def is_empty(self) -> bool:
        """Whether there is no version, and no list waiting."""
        return not self._versions and self._pending is None

    @property
    def retry_secs(self) -> float | None:
        """When the next failed version is due; None if none is."""
        due = (version.retry_secs for version in self._versions.values() if version.is_aspired)
        return min((secs for secs in due if secs is not None), default=None)

    @property
    def is_in_force(self) -> bool:
        """Whether the newest list was taken over, rather than still waiting."""
        return self._pending is None

    def find_error(self, servable_id: ServableId) -> Exception | None:
        """Returns why a version has failed, unless another incarnation is on its way."""
        version = self._versions.get(servable_id)
        if version is None or not version.is_aspired or not self.is_in_force or self._is_renewing:
            return None
        state = self._manager.find_state(servable_id)
        return None if state is None else state.error

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
        """Takes over a waiting list.

        One that re-aspires a version which is going away waits until that is flushed. A version
        that still serves, because nothing better did, is just taken back.
        """
        if self._pending is None or not self._may_apply(self._pending, states):
            return False
        versions, self._pending = self._pending, None
        self._drop_all_but({version.servable_id for version in versions})
        for data in versions:
            self._aspire_version(data, states.get(data.servable_id))
        self._is_renewing = False
        return True

    def _may_apply(self, versions: Iterable[ServableData[Loader[Any]]], states: _States) -> bool:
        former = ((v.servable_id, self._versions.get(v.servable_id)) for v in versions)
        return all(
            version is None or version.is_aspired or states[servable_id] is HarnessState.READY
            for servable_id, version in former
        )

    def _drop_all_but(self, aspired: set[ServableId]) -> None:
        for servable_id, former in self._versions.items():
            if servable_id not in aspired:
                former.is_aspired = False
                self._manager.cancel_load(servable_id)

    def _aspire_version(self, data: ServableData[Loader[Any]], state: HarnessState | None) -> None:
        former = self._versions.get(data.servable_id)
        if former is None:
            self._manager.manage_servable(data)
            self._versions[data.servable_id] = _Version(data)
        elif self._is_renewing and state is HarnessState.ERROR:
            self._versions[data.servable_id] = _Version(data, retry_secs=self._clock.now())
        else:
            self._keep_version(former, data, state)

    def _keep_version(
        self, former: _Version, data: ServableData[Loader[Any]], state: HarnessState | None
    ) -> None:
        former.is_aspired = True
        if data.error is None and state is not HarnessState.READY:
            if former.data.error is not None:
                former.retry_secs = self._clock.now()  # what the source could not give is there
            former.data = data

    def _retry_failed(self, states: _States) -> bool:
        has_retried = False
        for servable_id, version in self._versions.items():
            if version.is_aspired and states.get(servable_id) is HarnessState.ERROR:
                has_retried |= self._retry_version(servable_id, version)
        return has_retried

    def _retry_version(self, servable_id: ServableId, version: _Version) -> bool:
        now = self._clock.now()
        if version.retry_secs is None and self._may_retry(version):
            version.retry_secs = now + self._reload_retry.backoff_secs(version.num_failures)
            version.num_failures += 1
        if version.retry_secs is None or version.retry_secs > now:
            return False
        version.retry_secs = None
        self._manager.stop_managing_servable(servable_id)
        self._manager.manage_servable(version.data)
        return True

    def _may_retry(self, version: _Version) -> bool:
        # Where the source has sent an error there is nothing to load.
        return (
            version.data.error is None and version.num_failures < self._reload_retry.max_num_retries
        )

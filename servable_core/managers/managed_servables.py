"""The books of a `BasicManager`: what is managed, what was requested, and what is to be done now.

Only books and decisions: nothing here waits, loads, unloads or calls user code, and no thread is
safe without the owner's lock.
"""

from dataclasses import dataclass
from enum import Enum

from servable_core.errors import FailedPreconditionError, NotFoundError
from servable_core.lifecycle.servable_id import ServableId
from servable_core.lifecycle.servable_state import HarnessState
from servable_core.managers.load_gate import LoadGate
from servable_core.managers.managed_servable import ManagedServable

_STOPPABLE = frozenset({HarnessState.NEW, HarnessState.DISABLED, HarnessState.ERROR})


class WorkKind(Enum):
    """What can be done about a servable, in the order in which it is best done."""

    ANNOUNCE = "announce"
    QUIESCE = "quiesce"
    UNLOAD = "unload"
    REFUSE = "refuse"
    ESTIMATE = "estimate"
    LOAD = "load"


@dataclass(frozen=True, slots=True)
class Work:
    """One thing to do, outside the lock, by whoever took it."""

    kind: WorkKind
    managed: ManagedServable
    refusal: Exception | None = None


class ManagedServables:
    """All servables of one manager; not thread-safe.

    Args:
        gate: Admits loads; None admits all.
    """

    def __init__(self, gate: LoadGate | None) -> None:
        self._gate = gate
        self._managed: dict[ServableId, ManagedServable] = {}
        self._by_name: dict[str, dict[ServableId, ManagedServable]] = {}
        self._to_announce: list[ManagedServable] = []
        self._to_load: list[ManagedServable] = []
        self._to_quiesce: list[ManagedServable] = []
        self._draining: list[ManagedServable] = []

    @property
    def is_empty(self) -> bool:
        """Whether nothing is managed."""
        return not self._managed

    def list_all(self, servable_name: str | None = None) -> list[ManagedServable]:
        """Returns everything that is managed, or the versions of one servable; sorted by id."""
        found = self._managed if servable_name is None else self._by_name.get(servable_name, {})
        return sorted(found.values(), key=lambda managed: managed.servable_id)

    def find(self, servable_id: ServableId) -> ManagedServable | None:
        """Returns a servable; None if it is not managed."""
        return self._managed.get(servable_id)

    def get(self, servable_id: ServableId) -> ManagedServable:
        """Returns a servable.

        Raises:
            NotFoundError: If it is not managed.
        """
        managed = self._managed.get(servable_id)
        if managed is None:
            raise NotFoundError(f"{servable_id} is not being managed")
        return managed

    def add(self, managed: ManagedServable) -> None:
        """Takes a servable in.

        Raises:
            FailedPreconditionError: If there is one with its id.
        """
        if managed.servable_id in self._managed:
            raise FailedPreconditionError(f"{managed.servable_id} is being managed already")
        servable_id = managed.servable_id
        self._managed[servable_id] = managed
        self._by_name.setdefault(servable_id.name, {})[servable_id] = managed
        self._to_announce.append(managed)

    def remove(self, servable_id: ServableId) -> None:
        """Forgets a servable that has not begun to load, or has ended.

        Raises:
            NotFoundError: If it is not managed.
            FailedPreconditionError: If it is anything in between.
        """
        state = self.get(servable_id).state
        if state not in _STOPPABLE:
            raise FailedPreconditionError(
                f"{servable_id} cannot be forgotten while it is '{state.value}'"
            )
        self._forget(servable_id)

    def request_load(self, managed: ManagedServable) -> None:
        """Notes that a servable is to be loaded.

        Raises:
            FailedPreconditionError: If that was requested before.
        """
        managed.harness.load_requested()
        self._to_load.append(managed)

    def request_unload(self, managed: ManagedServable) -> None:
        """Notes that a servable is to be unloaded.

        Raises:
            FailedPreconditionError: If it is not loaded, or that was requested before.
        """
        if managed.state is not HarnessState.READY:
            raise FailedPreconditionError(
                f"{managed.servable_id} is '{managed.state.value}': it is not loaded, "
                "or its unload was requested before"
            )
        managed.harness.unload_requested()
        self._to_quiesce.append(managed)

    def wind_up(self) -> None:
        """Has everything end that has not ended, all loads being cancelled; forgets what has."""
        for servable_id, managed in list(self._managed.items()):
            if managed.state is HarnessState.NEW and managed.is_announced:
                self.request_load(managed)  # cancelled before it begins, it ends as all loads do
            elif managed.state is HarnessState.READY:
                self.request_unload(managed)
            elif managed.is_end_announced:
                self._forget(servable_id)

    def take_work(self) -> list[Work]:
        """Returns all that can be done now; each piece is returned once."""
        work = [
            *self._take_announcements(),
            *self._take_quiesces(),
            *self._take_unloads(),
            *self._take_loads(),
            *self._take_verdicts(),
        ]
        order = list(WorkKind)
        return sorted(work, key=lambda piece: order.index(piece.kind))

    def _forget(self, servable_id: ServableId) -> None:
        del self._managed[servable_id]
        versions = self._by_name[servable_id.name]
        del versions[servable_id]
        if not versions:
            del self._by_name[servable_id.name]

    def _take_announcements(self) -> list[Work]:
        taken, self._to_announce = self._to_announce, []
        return [Work(WorkKind.ANNOUNCE, managed) for managed in taken]

    def _take_quiesces(self) -> list[Work]:
        taken, self._to_quiesce = self._to_quiesce, []
        self._draining += taken
        return [Work(WorkKind.QUIESCE, managed) for managed in taken]

    def _take_unloads(self) -> list[Work]:
        """Returns the unloads of all servables whose last handle is gone."""
        drained: list[ManagedServable] = []
        waiting: list[ManagedServable] = []
        for managed in self._draining:  # each is asked once: it may drain at any moment
            (drained if _is_drained(managed) else waiting).append(managed)
        self._draining = waiting
        for managed in drained:
            managed.served = None
            managed.harness.done_quiescing()
        return [Work(WorkKind.UNLOAD, managed) for managed in drained]

    def _take_loads(self) -> list[Work]:
        """Returns the estimates of requested loads, or the loads where there is no gate."""
        ready = [managed for managed in self._to_load if managed.is_announced]
        self._to_load = [managed for managed in self._to_load if not managed.is_announced]
        return [self._begin_load(managed) for managed in ready]

    def _begin_load(self, managed: ManagedServable) -> Work:
        if self._gate is not None and not managed.harness.is_cancelled:
            return Work(WorkKind.ESTIMATE, managed)
        managed.harness.load_approved()
        return Work(WorkKind.LOAD, managed)

    def _take_verdicts(self) -> list[Work]:
        verdicts = self._gate.decide(self._managed.values()) if self._gate is not None else []
        work: list[Work] = []
        for verdict in verdicts:
            if verdict.refusal is None:
                verdict.managed.harness.load_approved()
                work.append(Work(WorkKind.LOAD, verdict.managed))
            else:
                verdict.managed.harness.fail(verdict.refusal)
                work.append(Work(WorkKind.REFUSE, verdict.managed, verdict.refusal))
        return work


def _is_drained(managed: ManagedServable) -> bool:
    is_quiescing = managed.harness.state is HarnessState.QUIESCING
    return is_quiescing and managed.served is not None and managed.served.is_drained

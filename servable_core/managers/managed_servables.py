"""The books of a manager: which servables it manages, and which lists are still to be taken over.

Only books: nothing here waits, loads or unloads, and no thread is safe without the owner's lock.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from servable_core.errors import InvalidArgumentError
from servable_core.lifecycle.loader import Loader
from servable_core.lifecycle.servable_data import ServableData
from servable_core.lifecycle.servable_id import ServableId
from servable_core.lifecycle.servable_state import (
    AspiredServableStateSnapshot,
    HarnessState,
    ServableState,
    to_manager_state,
)
from servable_core.managers.loader_harness import LoaderHarness
from servable_core.managers.serving_map import ServedServable

_FLUSHABLE = frozenset({HarnessState.NEW, HarnessState.DISABLED, HarnessState.ERROR})


@dataclass(slots=True, eq=False)
class ManagedServable:
    """One servable under management; guarded by the lock of the books' owner.

    Attributes:
        harness: Its state machine and loader.
        is_aspired: Whether the newest list names it.
        served: What makes it obtainable, from the end of its load to the last handle.
    """

    harness: LoaderHarness
    is_aspired: bool = True
    served: ServedServable[Any] | None = None

    @property
    def state(self) -> HarnessState:
        """The harness's state, but READY only once the servable can be obtained."""
        state = self.harness.state
        if state is HarnessState.READY and self.served is None:
            return HarnessState.LOADING
        return state

    @property
    def snapshot(self) -> AspiredServableStateSnapshot:
        """What the policy sees."""
        return AspiredServableStateSnapshot(
            servable_id=self.harness.servable_id, state=self.state, is_aspired=self.is_aspired
        )

    @property
    def servable_state(self) -> ServableState:
        """What users see."""
        return ServableState(
            servable_id=self.harness.servable_id,
            manager_state=to_manager_state(self.state),
            error=self.harness.error,
        )

    def unaspire(self) -> None:
        """Notes that nobody wants it any more; a load under way will not make it available."""
        self.is_aspired = False
        self.harness.cancel_load()


class ManagedServables:
    """All servables of one manager; not thread-safe.

    Args:
        create_harness: Makes the harness of a version that is new here.
    """

    def __init__(
        self, create_harness: Callable[[ServableData[Loader[Any]]], LoaderHarness]
    ) -> None:
        self._create_harness = create_harness
        self._managed: dict[ServableId, ManagedServable] = {}
        self._pending: dict[str, list[ServableData[Loader[Any]]]] = {}

    @property
    def is_empty(self) -> bool:
        """Whether nothing is managed."""
        return not self._managed

    def __getitem__(self, servable_id: ServableId) -> ManagedServable:
        return self._managed[servable_id]

    def list_all(self) -> list[ManagedServable]:
        """Returns everything that is managed, sorted by id."""
        return [managed for _, managed in sorted(self._managed.items(), key=lambda item: item[0])]

    def streams(self) -> list[list[AspiredServableStateSnapshot]]:
        """Returns what a policy sees of each servable, lowest version first."""
        by_name: dict[str, list[AspiredServableStateSnapshot]] = {}
        for managed in self.list_all():
            by_name.setdefault(managed.harness.servable_id.name, []).append(managed.snapshot)
        return list(by_name.values())

    def list_stream(self, servable_name: str) -> list[ManagedServable]:
        """Returns the managed versions of one servable, lowest first."""
        return [m for m in self.list_all() if m.harness.servable_id.name == servable_name]

    def aspire(self, servable_name: str, versions: Sequence[ServableData[Loader[Any]]]) -> None:
        """Notes a list for `apply_pending`; it replaces one that is still waiting."""
        self._pending[servable_name] = list(versions)

    def unaspire_all(self) -> None:
        """Notes that nothing is wanted any more, now or by any list still waiting."""
        self._pending.clear()
        for managed in self._managed.values():
            managed.unaspire()

    def flush(self) -> bool:
        """Forgets versions that nobody wants and that hold nothing; returns whether there were any."""
        gone = [
            servable_id
            for servable_id, managed in self._managed.items()
            if not managed.is_aspired and managed.state in _FLUSHABLE
        ]
        for servable_id in gone:
            del self._managed[servable_id]
        return bool(gone)

    def apply_pending(self) -> bool:
        """Takes over waiting lists; returns whether there were any it could take over.

        A list that re-aspires a version which is going away waits until that is flushed. A
        version that still serves, because nothing better did, is just taken back.
        """
        ready = [name for name, versions in self._pending.items() if self._may_apply(versions)]
        for name in ready:
            self._apply(name, self._pending.pop(name))
        return bool(ready)

    def find_error(self, servable_id: ServableId) -> Exception | None:
        """Returns why a version has failed for good, unless another incarnation is on its way."""
        managed = self._managed.get(servable_id)
        if managed is None or not managed.is_aspired or servable_id.name in self._pending:
            return None
        return managed.harness.error

    def is_available(self, servable_id: ServableId) -> bool:
        """Whether the servable can be obtained."""
        managed = self._managed.get(servable_id)
        return managed is not None and managed.state is HarnessState.READY

    def describe(self, servable_ids: Iterable[ServableId]) -> str:
        """Returns the states of some servables, in words."""
        managed = {servable_id: self._managed.get(servable_id) for servable_id in servable_ids}
        return ", ".join(
            f"{servable_id} ({m.state.value if m is not None else 'not managed'})"
            for servable_id, m in managed.items()
        )

    def _may_apply(self, versions: Sequence[ServableData[Loader[Any]]]) -> bool:
        former = filter(None, (self._managed.get(version.servable_id) for version in versions))
        return all(m.is_aspired or m.state is HarnessState.READY for m in former)

    def _apply(self, servable_name: str, versions: list[ServableData[Loader[Any]]]) -> None:
        aspired = {version.servable_id for version in versions}
        for managed in self.list_stream(servable_name):
            if managed.harness.servable_id not in aspired:
                managed.unaspire()
        for version in versions:
            former = self._managed.get(version.servable_id)
            if former is None:
                self._managed[version.servable_id] = ManagedServable(self._create_harness(version))
            else:
                former.is_aspired = True


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

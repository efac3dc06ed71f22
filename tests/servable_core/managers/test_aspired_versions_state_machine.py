"""Whatever happens in whatever order, the manager keeps its promises."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from servable_core.lifecycle import (
    ManagerState,
    ServableData,
    ServableHandle,
    ServableId,
    ServableRequest,
    ServableState,
)
from servable_core.managers import AspiredVersionsManager, AspiredVersionsManagerOptions
from servable_core.policies import AvailabilityPreservingPolicy, ResourcePreservingPolicy
from servable_core.resources import host_ram
from servable_core.runtime.event_bus import EventAndTime, EventBus
from servable_core.runtime.retry import RetryOptions
from servable_core.testing import FakeClock, FakeLoader, FakeServable

NAMES = ("available", "lean")
TOTAL_BYTES = 6
POLICIES = {"available": AvailabilityPreservingPolicy(), "lean": ResourcePreservingPolicy()}
_Sizes = st.dictionaries(st.integers(1, 4), st.tuples(st.integers(0, 4), st.integers(0, 3)))


class AspiredVersionsMachine(RuleBasedStateMachine):
    """Aspirations, failures, handles, steps and time, on two servables with different policies."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.events: list[ServableState] = []
        bus: EventBus[ServableState] = EventBus(self.clock)
        bus.subscribe(self._on_event)
        self.manager = AspiredVersionsManager(
            options=AspiredVersionsManagerOptions(
                load_retry=RetryOptions(max_num_retries=0),
                total_resources=host_ram(TOTAL_BYTES),
                has_manage_thread=False,
            ),
            policy_for=POLICIES.__getitem__,
            event_bus=bus,
            clock=self.clock,
        )
        self.loaders: list[tuple[ServableId, FakeLoader]] = []
        self.handles: list[ServableHandle[FakeServable]] = []
        self.aspired: dict[str, set[int]] = {name: set() for name in NAMES}
        self.was_available = False

    def _on_event(self, stamped: EventAndTime[ServableState]) -> None:
        state = stamped.event
        is_obtainable = state.servable_id in self.manager.list_available_servable_ids()
        if state.manager_state in (ManagerState.AVAILABLE, ManagerState.UNLOADING):
            assert is_obtainable, state
        self.events.append(state)

    @rule(name=st.sampled_from(NAMES), versions=_Sizes)
    def aspire(self, name: str, versions: dict[int, tuple[int, int]]) -> None:
        """Versions with a size and a number of loads that fail."""
        data = []
        for version, (size, num_failures) in versions.items():
            loader = FakeLoader(num_failures=num_failures, resources=host_ram(size))
            servable_id = ServableId(name, version)
            self.loaders.append((servable_id, loader))
            data.append(ServableData.of(servable_id, loader))
        self.aspired[name] = set(versions)
        self.was_available &= bool(self.aspired["available"])
        self.manager.set_aspired_versions(name, data)

    @rule(name=st.sampled_from(NAMES), version=st.integers(1, 4))
    def aspire_what_the_source_cannot_give(self, name: str, version: int) -> None:
        """One version, and only an error."""
        self.aspired[name] = {version}
        failed = ServableData.failed(ServableId(name, version), OSError("unreadable"))
        self.manager.set_aspired_versions(name, [failed])

    @rule()
    def step(self) -> None:
        """The manager does what it can."""
        self.manager.step()

    @rule(secs=st.sampled_from([1, 10, 700]))
    def pass_time(self, secs: int) -> None:
        """Failed versions become due."""
        self.clock.advance(secs)

    @precondition(lambda self: self.manager.list_available_servable_ids())
    @rule(data=st.data())
    def take_handle(self, data: st.DataObject) -> None:
        """Of anything that is available."""
        servable_id = data.draw(st.sampled_from(self.manager.list_available_servable_ids()))
        request = ServableRequest.from_id(servable_id)
        self.handles.append(self.manager.get_servable_handle(request, FakeServable))

    @precondition(lambda self: self.handles)
    @rule(data=st.data())
    def close_handle(self, data: st.DataObject) -> None:
        """In any order."""
        self.handles.pop(data.draw(st.integers(0, len(self.handles) - 1))).close()

    @invariant()
    def no_handle_dangles(self) -> None:
        """Nothing is used after its unload."""
        for handle in self.handles:
            handle.servable.use()

    @invariant()
    def nothing_is_unloaded_twice(self) -> None:
        """Each loader is loaded successfully at most once, and unloaded at most as often."""
        for _, loader in self.loaders:
            assert len(loader.unload_threads) <= min(1, len(loader.load_threads))

    @invariant()
    def used_resources_stay_within_the_total(self) -> None:
        """By the manager's account, and by what is in fact loaded."""
        assert host_ram(TOTAL_BYTES).covers(self.manager.statistics().used_resources)
        loaded = [loader.estimate_resources() for _, loader in self.loaders if loader.is_loaded]
        assert host_ram(TOTAL_BYTES).covers(sum(loaded, host_ram(0)))

    @invariant()
    def what_was_available_stays_so(self) -> None:
        """A stream never goes dark, unless nothing of it was aspired meanwhile."""
        is_available = any(
            servable_id.name == "available"
            for servable_id in self.manager.list_available_servable_ids()
        )
        assert is_available or not self.was_available
        self.was_available = is_available and bool(self.aspired["available"])

    @invariant()
    def events_come_in_order(self) -> None:
        """START, LOADING, AVAILABLE, UNLOADING, END, with leaps but never backwards."""
        newest: dict[ServableId, ManagerState] = {}
        for state in self.events:
            before = newest.get(state.servable_id, ManagerState.END)
            is_new = (
                before is ManagerState.END and state.manager_state is not ManagerState.AVAILABLE
            )
            assert is_new or state.manager_state.value > before.value, self.events
            newest[state.servable_id] = state.manager_state

    def teardown(self) -> None:
        """In the end everything is unloaded."""
        for handle in self.handles:
            handle.close()
        self.manager.close()
        for _, loader in self.loaders:
            assert not loader.is_loaded
            num_successes = max(0, len(loader.load_threads) - loader.num_failures)
            assert len(loader.unload_threads) == num_successes


AspiredVersionsMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None
)
TestAspiredVersions = AspiredVersionsMachine.TestCase

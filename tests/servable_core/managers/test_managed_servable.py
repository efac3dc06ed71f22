"""What a manager knows of one servable."""

from servable_core.lifecycle import (
    HarnessState,
    ManagerState,
    ServableData,
    ServableId,
)
from servable_core.managers import LoaderHarness, ServedServable
from servable_core.managers.managed_servable import ManagedServable
from servable_core.runtime.clock import SystemClock
from servable_core.runtime.retry import RetryOptions
from servable_core.testing import FakeLoader

M1 = ServableId("m", 1)


def _harness(loader: FakeLoader) -> LoaderHarness:
    return LoaderHarness(
        ServableData.of(M1, loader), retry_options=RetryOptions(), clock=SystemClock()
    )


def test_a_loaded_servable_counts_as_ready_only_once_it_can_be_obtained() -> None:
    """Otherwise the policy might unload the old version a moment too early."""
    managed = ManagedServable(_harness(FakeLoader()))
    managed.harness.load_requested()
    managed.harness.load_approved()
    servable = managed.harness.load()

    told = [(managed.state, managed.servable_state.manager_state)]
    managed.served = ServedServable(M1, servable, lambda: None)
    told.append((managed.state, managed.servable_state.manager_state))

    assert told == [
        (HarnessState.LOADING, ManagerState.LOADING),
        (HarnessState.READY, ManagerState.AVAILABLE),
    ]

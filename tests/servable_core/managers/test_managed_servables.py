"""The books of a manager."""

from servable_core.lifecycle import (
    HarnessState,
    ManagerState,
    ServableData,
    ServableId,
)
from servable_core.managers import LoaderHarness, ServedServable
from servable_core.managers.managed_servables import ManagedServable, ManagedServables
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

    told = [(managed.state, managed.snapshot.state, managed.servable_state.manager_state)]
    managed.served = ServedServable(M1, servable, lambda: None)
    told.append((managed.state, managed.snapshot.state, managed.servable_state.manager_state))

    assert told == [
        (HarnessState.LOADING, HarnessState.LOADING, ManagerState.LOADING),
        (HarnessState.READY, HarnessState.READY, ManagerState.AVAILABLE),
    ]


def test_an_error_does_not_count_while_a_newer_list_waits() -> None:
    """Whoever waits for the version waits for its next incarnation."""
    error = OSError("unreadable")
    servables = ManagedServables(
        lambda data: LoaderHarness(data, retry_options=RetryOptions(), clock=SystemClock())
    )
    servables.aspire("m", [ServableData.failed(M1, error)])
    servables.apply_pending()
    found = [servables.find_error(M1)]

    servables.aspire("m", [])
    found.append(servables.find_error(M1))

    assert found == [error, None]

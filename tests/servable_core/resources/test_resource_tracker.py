"""The sum of what is used stays within the total."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servable_core.errors import InvalidArgumentError
from servable_core.resources import Resource, ResourceAllocation, ResourceTracker, host_ram


def _gpu(instance: int | None, ram: int) -> ResourceAllocation:
    return ResourceAllocation({Resource("gpu", "ram_bytes", instance): ram})


TWO_GPUS = _gpu(0, 10) + _gpu(1, 10)


def test_what_fits_is_reserved_and_the_rest_is_not() -> None:
    """A refusal changes nothing."""
    tracker = ResourceTracker(host_ram(10))

    assert tracker.try_reserve(host_ram(6))
    assert not tracker.try_reserve(host_ram(5))
    assert tracker.try_reserve(host_ram(4))
    assert tracker.used == host_ram(10)


def test_two_unbound_servables_are_not_admitted_into_the_same_room() -> None:
    """Nobody knows on which GPU the first one will be, so the second one fits on neither."""
    tracker = ResourceTracker(TWO_GPUS)

    assert tracker.try_reserve(_gpu(None, 8))
    assert not tracker.try_reserve(_gpu(None, 8))
    assert not tracker.try_reserve(_gpu(1, 8))
    assert tracker.try_reserve(_gpu(None, 2))


def test_once_bound_the_other_instance_is_free() -> None:
    """A loaded servable tells where it is."""
    tracker = ResourceTracker(TWO_GPUS)

    tracker.recompute_used([_gpu(0, 8)])

    assert tracker.try_reserve(_gpu(None, 8))


def test_recomputing_gives_back_what_has_shrunk_or_gone() -> None:
    """The new sum replaces the old one."""
    tracker = ResourceTracker(host_ram(10))
    tracker.try_reserve(host_ram(10))

    tracker.recompute_used([host_ram(3), host_ram(4)])

    assert tracker.used == host_ram(7)


def test_an_invalid_estimate_is_an_error() -> None:
    """Here on a machine without GPUs."""
    with pytest.raises(InvalidArgumentError, match="no such device"):
        ResourceTracker(host_ram(10)).try_reserve(_gpu(0, 1))


def test_what_exceeds_the_total_could_never_be_reserved() -> None:
    """Whatever goes away."""
    tracker = ResourceTracker(host_ram(10))
    tracker.try_reserve(host_ram(10))

    assert tracker.could_ever_reserve(host_ram(10))
    assert not tracker.could_ever_reserve(host_ram(11))


@given(st.lists(st.builds(_gpu, st.sampled_from([None, 0, 1]), st.integers(0, 9))))
def test_whatever_is_reserved_the_total_covers_what_is_used(
    demands: list[ResourceAllocation],
) -> None:
    """Wherever the unbound ones end up."""
    tracker = ResourceTracker(TWO_GPUS)

    for demand in demands:
        tracker.try_reserve(demand)

    assert TWO_GPUS.covers(tracker.used)

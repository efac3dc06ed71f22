"""Quantities and their arithmetic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servable_core.errors import InvalidArgumentError
from servable_core.resources import EMPTY, Resource, ResourceAllocation, host_ram

RAM, GPU = Resource("main", "ram_bytes", 0), Resource("gpu", "ram_bytes")
_RESOURCES = st.builds(
    Resource, st.sampled_from(["main", "gpu"]), st.just("ram_bytes"), st.sampled_from([None, 0, 1])
)
_ALLOCATIONS = st.dictionaries(_RESOURCES, st.integers(0, 9)).map(ResourceAllocation)


def test_zero_counts_as_not_named() -> None:
    """So equality does not depend on how nothing is spelt."""
    assert ResourceAllocation({RAM: 0}) == EMPTY
    assert not ResourceAllocation({RAM: 0})
    assert host_ram(3)[GPU] == 0


def test_negative_quantities_and_instances_are_refused() -> None:
    """Nobody owns less than nothing."""
    with pytest.raises(InvalidArgumentError, match="got -1"):
        ResourceAllocation({RAM: -1})
    with pytest.raises(InvalidArgumentError, match="got -1"):
        Resource("gpu", "ram_bytes", -1)


def test_taking_more_than_there_is_is_refused() -> None:
    """Both sides are named."""
    with pytest.raises(InvalidArgumentError, match="cannot take 4 of main:0/ram_bytes from 3"):
        host_ram(3).minus(host_ram(4))


def test_bound_means_every_instance_is_known() -> None:
    """One unbound quantity suffices to be unbound."""
    assert host_ram(1).is_bound
    assert not (host_ram(1) + ResourceAllocation({GPU: 1})).is_bound


@given(_ALLOCATIONS, _ALLOCATIONS)
def test_sums_cover_their_parts_and_can_be_taken_apart(
    left: ResourceAllocation, right: ResourceAllocation
) -> None:
    """Plus and minus are inverse; the maximum covers both and is covered by the sum."""
    total = left + right

    assert total.covers(left)
    assert total.minus(left) == right
    assert total == right + left
    assert (left | right).covers(left)
    assert total.covers(left | right)
    assert hash(total) == hash(right + left)

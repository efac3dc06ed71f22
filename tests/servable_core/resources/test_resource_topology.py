"""Which devices there are, and what fits where."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servable_core.errors import InvalidArgumentError
from servable_core.resources import EMPTY, Resource, ResourceAllocation, ResourceTopology

TOPOLOGY = ResourceTopology({"main": 1, "gpu": 2})


def _gpu(instance: int | None, ram: int = 0, slots: int = 0) -> ResourceAllocation:
    return ResourceAllocation(
        {Resource("gpu", "ram_bytes", instance): ram, Resource("gpu", "slots", instance): slots}
    )


def test_the_total_tells_the_devices() -> None:
    """Instances go from 0 to the highest that is named."""
    total = _gpu(1, 8) + ResourceAllocation({Resource("main", "ram_bytes", 0): 1})

    assert ResourceTopology.of(total) == TOPOLOGY


def test_an_unbound_total_is_refused() -> None:
    """What there is, is somewhere."""
    with pytest.raises(InvalidArgumentError, match="must be bound, got gpu:"):
        ResourceTopology.of(_gpu(None, 8))


@pytest.mark.parametrize(
    ("resource", "message"),
    [
        (Resource("tpu", "ram_bytes"), "no such device; there are gpu, main"),
        (Resource("gpu", "ram_bytes", 2), "the device has 2 instances"),
    ],
)
def test_what_does_not_exist_is_refused(resource: Resource, message: str) -> None:
    """An estimate for another machine is an error, not a zero."""
    with pytest.raises(InvalidArgumentError, match=message):
        TOPOLOGY.normalize(ResourceAllocation({resource: 1}))


def test_what_can_only_be_in_one_place_is_bound() -> None:
    """Quantities that meet there add up."""
    ram = Resource("main", "ram_bytes")
    allocation = ResourceAllocation({ram: 1, ram.bind(0): 2}) + _gpu(None, 5)

    normal = TOPOLOGY.normalize(allocation)

    assert normal == ResourceAllocation({ram.bind(0): 3}) + _gpu(None, 5)


def test_overbinding_counts_the_unbound_everywhere() -> None:
    """And adds it to what is bound there."""
    assert TOPOLOGY.overbind(_gpu(None, 5) + _gpu(0, 1)) == _gpu(0, 6) + _gpu(1, 5)


@pytest.mark.parametrize(
    ("demand", "free", "fits"),
    [
        pytest.param(EMPTY, EMPTY, True, id="nothing needs nothing"),
        pytest.param(_gpu(0, 3), _gpu(0, 3), True, id="exactly"),
        pytest.param(_gpu(0, 3), _gpu(1, 9), False, id="bound elsewhere"),
        pytest.param(_gpu(None, 3), _gpu(1, 3), True, id="any one instance"),
        pytest.param(_gpu(None, 3), _gpu(0, 2) + _gpu(1, 2), False, id="not spread over two"),
        pytest.param(
            _gpu(None, 3, 1), _gpu(0, 3) + _gpu(1, 0, 1), False, id="kinds fit, but on two devices"
        ),
        pytest.param(_gpu(None, 3, 1), _gpu(0, 3) + _gpu(1, 3, 1), True, id="together on one"),
        pytest.param(
            _gpu(0, 2) + _gpu(None, 2), _gpu(0, 3) + _gpu(1, 1), False, id="bound taken first"
        ),
    ],
)
def test_fits(demand: ResourceAllocation, free: ResourceAllocation, fits: bool) -> None:
    """All that is unbound on a device lands on one instance, after what is bound."""
    assert TOPOLOGY.fits(demand, free) is fits


_AMOUNTS = st.integers(0, 4)
_UNITS = st.builds(_gpu, st.sampled_from([None, 0, 1]), _AMOUNTS, _AMOUNTS)
_DEMANDS = st.builds(lambda a, b: a + b, _UNITS, _UNITS)


def _place(demand: ResourceAllocation, instance: int) -> ResourceAllocation:
    placed = (
        ResourceAllocation({resource if resource.is_bound else resource.bind(instance): quantity})
        for resource, quantity in demand.quantities.items()
    )
    return sum(placed, EMPTY)


@given(
    _DEMANDS,
    st.builds(_gpu, st.just(0), _AMOUNTS, _AMOUNTS),
    st.builds(_gpu, st.just(1), _AMOUNTS, _AMOUNTS),
)
def test_what_fits_can_really_be_placed(
    demand: ResourceAllocation, first: ResourceAllocation, second: ResourceAllocation
) -> None:
    """The answer is that of trying every placement."""
    free = first + second

    assert TOPOLOGY.fits(demand, free) is any(free.covers(_place(demand, i)) for i in (0, 1))

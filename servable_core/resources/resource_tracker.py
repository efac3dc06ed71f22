"""Keeps the sum of what servables use within a total."""

from collections.abc import Iterable
from functools import reduce

from servable_core.errors import ResourceExhaustedError
from servable_core.resources.resource_allocation import EMPTY, ResourceAllocation
from servable_core.resources.resource_topology import ResourceTopology


class InsufficientResourcesError(ResourceExhaustedError):
    """A load was refused for want of resources; its loader was not touched."""


class ResourceTracker:
    """Admits allocations as long as they fit into a total; not thread-safe, never waits.

    What is in use but unbound counts on every instance of its device: nobody knows where it
    will end up. So nothing is admitted that might not fit.

    Args:
        total: All there is; bound. It also says which devices and instances exist.

    Raises:
        InvalidArgumentError: If `total` is not bound.
    """

    def __init__(self, total: ResourceAllocation) -> None:
        self._total = total
        self._topology = ResourceTopology.of(total)
        self._used = EMPTY  # overbound

    @property
    def total(self) -> ResourceAllocation:
        """All there is."""
        return self._total

    @property
    def used(self) -> ResourceAllocation:
        """What is in use; unbound quantities count on every instance, as far as there is room."""
        return self._used

    def recompute_used(self, allocations: Iterable[ResourceAllocation]) -> None:
        """Replaces what is in use: estimates may have shrunk, servables may have gone."""
        overbound = (self.overbind(allocation) for allocation in allocations)
        self._use(reduce(lambda left, right: left + right, overbound, EMPTY))

    def could_ever_reserve(self, allocation: ResourceAllocation) -> bool:
        """Whether `allocation` would fit if nothing else were in use."""
        return self._topology.fits(self._topology.normalize(allocation), self._total)

    def try_reserve(self, allocation: ResourceAllocation) -> bool:
        """Counts `allocation` as used if it fits; returns whether it does.

        Raises:
            InvalidArgumentError: If it names a device or an instance that does not exist.
        """
        demand = self._topology.normalize(allocation)
        if not self._topology.fits(demand, self._total.minus(self._used)):
            return False
        self._use(self._used + self._topology.overbind(demand))
        return True

    def _use(self, overbound: ResourceAllocation) -> None:
        # Where something unbound has no room it is not, so no instance is more than full.
        self._used = overbound & self._total

    def overbind(self, allocation: ResourceAllocation) -> ResourceAllocation:
        """Returns what `allocation` counts as: what is unbound, on every instance.

        Raises:
            InvalidArgumentError: If it names a device or an instance that does not exist.
        """
        return self._topology.overbind(self._topology.normalize(allocation))

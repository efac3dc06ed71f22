"""Which devices there are, and what fits where."""

from collections.abc import Mapping
from dataclasses import dataclass

from servable_core.errors import InvalidArgumentError
from servable_core.resources.resource_allocation import Resource, ResourceAllocation


@dataclass(frozen=True, slots=True)
class ResourceTopology:
    """The devices and how many instances there are of each; pure functions on allocations.

    Attributes:
        num_instances: For each device.
    """

    num_instances: Mapping[str, int]

    @classmethod
    def of(cls, total: ResourceAllocation) -> "ResourceTopology":
        """Returns the devices that `total` names: instances from 0 to the highest one.

        Raises:
            InvalidArgumentError: If `total` is not bound.
        """
        num_instances: dict[str, int] = {}
        for resource in total:
            if resource.instance is None:
                raise InvalidArgumentError(f"total resources must be bound, got {resource}")
            highest = num_instances.get(resource.device, 0)
            num_instances[resource.device] = max(highest, resource.instance + 1)
        return cls(num_instances)

    def normalize(self, allocation: ResourceAllocation) -> ResourceAllocation:
        """Binds what can only be in one place.

        Raises:
            InvalidArgumentError: If there is no such device or instance.
        """
        quantities: dict[Resource, int] = {}
        for resource, quantity in allocation.quantities.items():
            self._check(resource)
            bound = resource.bind(0) if self.num_instances[resource.device] == 1 else resource
            quantities[bound] = quantities.get(bound, 0) + quantity
        return ResourceAllocation(quantities)

    def overbind(self, allocation: ResourceAllocation) -> ResourceAllocation:
        """Counts what is unbound on every instance: wherever it is, it is counted there."""
        quantities: dict[Resource, int] = {}
        for resource, quantity in allocation.quantities.items():
            for bound in self._instances(resource):
                quantities[bound] = quantities.get(bound, 0) + quantity
        return ResourceAllocation(quantities)

    def fits(self, demand: ResourceAllocation, free: ResourceAllocation) -> bool:
        """Whether a bound `free` has room for `demand`.

        What is bound is taken first. Then all that is unbound on one device must find room
        together, on one instance: a servable does not have its memory on one GPU and its slot
        on another. Testing each quantity alone would admit too much.
        """
        bound = _select(demand, is_bound=True)
        if not free.covers(bound):
            return False
        rest = free.minus(bound)
        unbound = _select(demand, is_bound=False)
        return all(self._fits_on(d, unbound, rest) for d in {r.device for r in unbound})

    def _fits_on(self, device: str, unbound: ResourceAllocation, free: ResourceAllocation) -> bool:
        needed = {r: q for r, q in unbound.quantities.items() if r.device == device}
        return any(
            all(quantity <= free[resource.bind(instance)] for resource, quantity in needed.items())
            for instance in range(self.num_instances[device])
        )

    def _instances(self, resource: Resource) -> list[Resource]:
        if resource.is_bound:
            return [resource]
        return [resource.bind(i) for i in range(self.num_instances[resource.device])]

    def _check(self, resource: Resource) -> None:
        num_instances = self.num_instances.get(resource.device)
        if num_instances is None:
            raise InvalidArgumentError(
                f"{resource}: there is no such device; "
                f"there are {', '.join(sorted(self.num_instances)) or 'none'}"
            )
        if resource.instance is not None and resource.instance >= num_instances:
            raise InvalidArgumentError(f"{resource}: the device has {num_instances} instances")


def _select(allocation: ResourceAllocation, *, is_bound: bool) -> ResourceAllocation:
    return ResourceAllocation(
        {r: q for r, q in allocation.quantities.items() if r.is_bound is is_bound}
    )

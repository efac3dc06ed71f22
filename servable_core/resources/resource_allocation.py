"""Quantities of resources: values and their arithmetic."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from servable_core.errors import InvalidArgumentError

MAIN = "main"
"""The host itself, as a device."""

RAM_BYTES = "ram_bytes"
"""Memory of a device, as a kind of resource."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of resource on one device; immutable and hashable.

    Attributes:
        device: For example "main" or "gpu".
        kind: For example "ram_bytes".
        instance: Which of several such devices, from 0. None leaves it open (unbound): it is on
            one of them, not known which, and with all that its owner needs of that device.
    """

    device: str
    kind: str
    instance: int | None = None

    def __post_init__(self) -> None:
        if self.instance is not None and self.instance < 0:
            raise InvalidArgumentError(f"instance must be 0 or more, got {self.instance}")

    @property
    def is_bound(self) -> bool:
        """Whether the instance is known."""
        return self.instance is not None

    def bind(self, instance: int) -> "Resource":
        """Returns the same kind of resource on the given instance."""
        return Resource(self.device, self.kind, instance)

    def __str__(self) -> str:
        return f"{self.device}:{'?' if self.instance is None else self.instance}/{self.kind}"


@dataclass(frozen=True, slots=True)
class ResourceAllocation:
    """How much of which resources; immutable. What is not named is 0, and 0 counts as not named.

    Attributes:
        quantities: The positive ones.
    """

    quantities: Mapping[Resource, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for resource, quantity in self.quantities.items():
            if quantity < 0:
                raise InvalidArgumentError(f"{resource} must be 0 or more, got {quantity}")
        positive = {resource: q for resource, q in self.quantities.items() if q}
        object.__setattr__(self, "quantities", positive)

    def __getitem__(self, resource: Resource) -> int:
        return self.quantities.get(resource, 0)

    def __iter__(self) -> Iterator[Resource]:
        return iter(self.quantities)

    def __bool__(self) -> bool:
        return bool(self.quantities)

    def __hash__(self) -> int:
        return hash(frozenset(self.quantities.items()))

    @property
    def is_bound(self) -> bool:
        """Whether it is known of all of it on which instance it is."""
        return all(resource.is_bound for resource in self)

    def __add__(self, other: "ResourceAllocation") -> "ResourceAllocation":
        return self._combine(other, lambda mine, others: mine + others)

    def __or__(self, other: "ResourceAllocation") -> "ResourceAllocation":
        """Returns the greater quantity of each resource."""
        return self._combine(other, max)

    def __and__(self, other: "ResourceAllocation") -> "ResourceAllocation":
        """Returns the smaller quantity of each resource."""
        return self._combine(other, min)

    def covers(self, other: "ResourceAllocation") -> bool:
        """Whether `other` needs no more of any resource; unbound is compared with unbound."""
        return all(quantity <= self[resource] for resource, quantity in other.quantities.items())

    def minus(self, other: "ResourceAllocation") -> "ResourceAllocation":
        """Returns what is left without `other`.

        Raises:
            InvalidArgumentError: If `other` has more of something.
        """
        if not self.covers(other):
            raise InvalidArgumentError(f"cannot take {other} from {self}")
        return self._combine(other, lambda mine, others: mine - others)

    def _combine(
        self, other: "ResourceAllocation", combine: Callable[[int, int], int]
    ) -> "ResourceAllocation":
        resources = self.quantities.keys() | other.quantities.keys()
        return ResourceAllocation({r: combine(self[r], other[r]) for r in resources})

    def __str__(self) -> str:
        parts = sorted(
            f"{quantity} of {resource}" for resource, quantity in self.quantities.items()
        )
        return ", ".join(parts) or "nothing"


EMPTY = ResourceAllocation()


def host_ram(num_bytes: int) -> ResourceAllocation:
    """Returns `num_bytes` of the host's memory."""
    return ResourceAllocation({Resource(MAIN, RAM_BYTES, 0): num_bytes})

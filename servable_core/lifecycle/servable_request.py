"""What a caller asks a manager for: one version of a servable, or its newest or oldest."""

from dataclasses import dataclass
from enum import Enum

from servable_core.lifecycle.servable_id import ServableId


class AutoVersionPolicy(Enum):
    """How a request without a version picks one among those available."""

    EARLIEST = "earliest"
    LATEST = "latest"


@dataclass(frozen=True, slots=True)
class ServableRequest:
    """Made by `latest`, `earliest`, `specific` or `from_id`; immutable and hashable.

    Attributes:
        name: Name of the servable.
        version: The version asked for; None leaves the choice to `auto_version_policy`.
        auto_version_policy: Read only where `version` is None.
    """

    name: str
    version: int | None = None
    auto_version_policy: AutoVersionPolicy = AutoVersionPolicy.LATEST

    @classmethod
    def latest(cls, name: str) -> "ServableRequest":
        """Asks for the highest version available."""
        return cls(name)

    @classmethod
    def earliest(cls, name: str) -> "ServableRequest":
        """Asks for the lowest version available."""
        return cls(name, auto_version_policy=AutoVersionPolicy.EARLIEST)

    @classmethod
    def specific(cls, name: str, version: int) -> "ServableRequest":
        """Asks for `version` and no other."""
        return cls(name, version)

    @classmethod
    def from_id(cls, servable_id: ServableId) -> "ServableRequest":
        """Asks for exactly `servable_id`."""
        return cls(servable_id.name, servable_id.version)

    def __str__(self) -> str:
        if self.version is None:
            return f"{self.auto_version_policy.value}({self.name})"
        return f"specific({self.name}, {self.version})"

"""The identity of one version of one servable."""

from dataclasses import dataclass

from servable_core.errors import InvalidArgumentError


@dataclass(frozen=True, slots=True, order=True)
class ServableId:
    """Name and version; immutable, hashable, ordered by name and then by version.

    Attributes:
        name: The stream of versions it belongs to, usually a model's name.
        version: Non-negative; higher is newer.
    """

    name: str
    version: int

    def __post_init__(self) -> None:
        if self.version < 0:
            raise InvalidArgumentError(
                f"version of servable {self.name!r} must be 0 or more, got {self.version}"
            )

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"

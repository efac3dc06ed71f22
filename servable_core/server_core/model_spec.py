"""What a request says of the model it wants."""

from dataclasses import dataclass

from servable_core.errors import InvalidArgumentError


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model by name, and by version, by label, or its newest version; immutable.

    Attributes:
        name: Name of the model.
        version: That version and no other.
        version_label: The version that the configuration gives this name to.
    """

    name: str
    version: int | None = None
    version_label: str | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise InvalidArgumentError("a model spec must have a name")
        if self.version is not None and self.version_label is not None:
            raise InvalidArgumentError(
                f"the spec of model {self.name!r} has version {self.version} and label {self.version_label!r}: give one of them"
            )

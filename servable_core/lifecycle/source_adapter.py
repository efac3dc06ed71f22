"""Turns aspired versions of one kind into another: paths into loaders, for instance."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from typing_extensions import override

from servable_core.errors import FailedPreconditionError
from servable_core.lifecycle.servable_data import ServableData
from servable_core.lifecycle.servable_id import ServableId
from servable_core.lifecycle.source import Source, Target

In = TypeVar("In")
Out = TypeVar("Out")


class SourceAdapter(ABC, Target[In], Source[Out], Generic[In, Out]):
    """A target of `In` that is a source of `Out`.

    Connect it to its own target before a source is connected to it. As thread-safe as `adapt`.
    """

    def __init__(self) -> None:
        self._target: Target[Out] | None = None  # set once, while the chain is built

    @abstractmethod
    def adapt(
        self, servable_name: str, versions: Sequence[ServableData[In]]
    ) -> list[ServableData[Out]]:
        """Returns one output per input, with the same ids; errors pass through."""

    @override
    def set_target(self, target: Target[Out]) -> None:
        if self._target is not None:
            raise FailedPreconditionError("the adapter has a target already")
        self._target = target

    @override
    def set_aspired_versions(
        self, servable_name: str, versions: Sequence[ServableData[In]]
    ) -> None:
        if self._target is None:
            raise FailedPreconditionError(
                "the adapter has no target yet: connect it to its target before its source"
            )
        self._target.set_aspired_versions(servable_name, self.adapt(servable_name, versions))

    def adapt_one_version(self, version: ServableData[In]) -> ServableData[Out]:
        """Returns the output for a single version, without telling the target of it."""
        return self.adapt(version.servable_id.name, [version])[0]


class UnarySourceAdapter(SourceAdapter[In, Out]):
    """Converts version by version; as thread-safe as `convert`.

    Args:
        convert: Makes the output; an exception becomes the error of that version only.
    """

    def __init__(self, convert: Callable[[ServableId, In], Out]) -> None:
        super().__init__()
        self._convert = convert

    @override
    def adapt(
        self, servable_name: str, versions: Sequence[ServableData[In]]
    ) -> list[ServableData[Out]]:
        return [self._adapt_one(version) for version in versions]

    def _adapt_one(self, version: ServableData[In]) -> ServableData[Out]:
        servable_id = version.servable_id
        if version.error is not None:
            return ServableData.failed(servable_id, version.error)
        try:
            return ServableData.of(servable_id, self._convert(servable_id, version.unwrap()))
        except Exception as error:  # noqa: BLE001 - it travels on as the error of this version
            return ServableData.failed(servable_id, error)


class ErrorInjectingSourceAdapter(SourceAdapter[In, Out]):
    """Turns every version into an error: the end of a chain for what nobody can load; thread-safe.

    Args:
        error: What becomes of the versions that had none; earlier errors are kept.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    @override
    def adapt(
        self, servable_name: str, versions: Sequence[ServableData[In]]
    ) -> list[ServableData[Out]]:
        return [
            ServableData.failed(version.servable_id, version.error or self._error)
            for version in versions
        ]

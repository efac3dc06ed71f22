"""Platforms by name: those built in, imported when they are first used, and those of users."""

import importlib
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from servable_core.errors import AlreadyExistsError, NotFoundError
from servable_core.servables.platform import Platform

# Modules with a PLATFORM; none imports what it runs on before it loads something.
_BUILT_IN = {
    "tensorflow": "servable_core.servables.saved_model.platform",
    "lookup_table": "servable_core.servables.lookup_table.platform",
}


class PlatformRegistry:
    """Finds platforms by name; immutable and thread-safe.

        platforms = PlatformRegistry([HASHMAP])
        platforms.find("hashmap").create_loader(servable_id, path, file_system)

    Args:
        platforms: Platforms besides those built in.

    Raises:
        AlreadyExistsError: If two have the same name, or one that of a built-in one.
    """

    def __init__(self, platforms: Iterable[Platform] = ()) -> None:
        added: dict[str, Platform] = {}
        for platform in platforms:
            if platform.name in added or platform.name in _BUILT_IN:
                raise AlreadyExistsError(
                    f"there is a platform {platform.name!r} already: choose another name"
                )
            added[platform.name] = platform
        self._added: Mapping[str, Platform] = MappingProxyType(added)

    @property
    def names(self) -> tuple[str, ...]:
        """All names, those built in first."""
        return (*_BUILT_IN, *self._added)

    def find(self, name: str) -> Platform:
        """Returns the platform called `name`.

        Raises:
            NotFoundError: There is none; the message lists those that exist.
        """
        if name in self._added:
            return self._added[name]
        if name not in _BUILT_IN:
            known = ", ".join(map(repr, self.names))
            raise NotFoundError(f"there is no platform {name!r}; known are {known}")
        platform: Platform = importlib.import_module(_BUILT_IN[name]).PLATFORM
        return platform

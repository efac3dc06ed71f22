"""Values of a section of a configuration file, checked; messages name the place and the remedy."""

import difflib
import math
from collections.abc import Collection, Mapping
from enum import Enum
from typing import Any, TypeVar

from servable_core.errors import InvalidArgumentError

EnumT = TypeVar("EnumT", bound=Enum)


def checked_keys(place: str, found: Any, known: Collection[str]) -> Mapping[str, Any]:
    """Returns a mapping of which all keys are known.

    Raises:
        InvalidArgumentError: It is none, or has another key.
    """
    if not isinstance(found, Mapping):
        raise InvalidArgumentError(f"{place} must have {', '.join(known)}, got {found!r}")
    for name in found:
        if name not in known:
            raise InvalidArgumentError(
                f"{place}: unknown key {name!r}{_hint(name, known)} (there are {', '.join(known)})"
            )
    return found


def enum_value(place: str, kind: type[EnumT], found: Any) -> EnumT:
    """Returns the member of `kind` whose value is `found`.

    Raises:
        InvalidArgumentError: There is none.
    """
    words = [each.value for each in kind]
    if found not in words:
        raise InvalidArgumentError(
            f"{place} must be one of {', '.join(words)}, got {found!r}{_hint(found, words)}"
        )
    return kind(found)


def number_value(place: str, found: Any) -> float:
    """Returns a finite number; YAML takes 1e-3 for a text, so texts are read too.

    Raises:
        InvalidArgumentError: It is none.
    """
    try:
        number = math.nan if isinstance(found, bool) else float(found)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InvalidArgumentError(f"{place} must be a number, got {found!r}")
    return number


def text_value(place: str, found: Any) -> str:
    """Returns a text that is not empty.

    Raises:
        InvalidArgumentError: It is none.
    """
    if not isinstance(found, str) or not found:
        raise InvalidArgumentError(f"{place} must be a name, got {found!r}")
    return found


def _hint(found: Any, known: Collection[str]) -> str:
    near = difflib.get_close_matches(str(found), known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""

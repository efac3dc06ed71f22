"""How deep JSON is nested, told without parsing it: parsers that recurse may overflow their stacks."""

import re

import numpy as np

_STEPS = np.zeros(256, np.int8)
_STEPS[list(b"[{")] = 1
_STEPS[list(b"]}")] = -1
_NO_STRUCTURE = bytes(sign for sign in range(256) if sign not in b"[]{}")
# Possessive, and an end of line ends a string, too: no string is looked through twice.
_STRING = re.compile(rb'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"?')


def is_nested_deeper(text: bytes, max_depth: int) -> bool:
    """Returns whether JSON, or some lines of it, may be nested deeper than `max_depth`.

    Brackets count, whether they fit each other or not; those in strings do not. A newline ends no
    object, for parsers that are given several lines read on behind it.
    """
    return _depth(text) > max_depth and _depth(_STRING.sub(b"", text)) > max_depth


def _depth(text: bytes) -> int:
    """Returns how far the brackets rise at most, from wherever they have fallen to."""
    signs = np.frombuffer(text.translate(None, _NO_STRUCTURE), np.uint8)
    depths = np.cumsum(_STEPS[signs], dtype=np.int64)
    lowest = np.minimum.accumulate(np.minimum(depths, 0))
    return int((depths - lowest).max(initial=0))

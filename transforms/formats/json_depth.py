"""How deep JSON is nested, told without parsing it: parsers that recurse may overflow their stacks."""

import re

import numpy as np

_NEWLINE = ord("\n")
_STEPS = np.zeros(256, np.int8)
_STEPS[list(b"[{")] = 1
_STEPS[list(b"]}")] = -1
_NO_STRUCTURE = bytes(sign for sign in range(256) if sign not in b"[]{}\n")
_STRING = re.compile(rb'"(?:[^"\\\n]|\\.)*"')


def is_nested_deeper(text: bytes, max_depth: int) -> bool:
    """Returns whether a line of JSON Lines is nested deeper than `max_depth`.

    Brackets count, whether they fit each other or not; those in strings do not.
    """
    return _depth(text) > max_depth and _depth(_STRING.sub(b"", text)) > max_depth


def _depth(text: bytes) -> int:
    signs = np.frombuffer(text.translate(None, _NO_STRUCTURE), np.uint8)
    if not len(signs):
        return 0
    depths = np.cumsum(_STEPS[signs], dtype=np.int64)
    is_end = signs == _NEWLINE
    lines = np.cumsum(is_end)
    before = np.concatenate([[0], depths[is_end]])
    return int((depths - before[lines]).max())

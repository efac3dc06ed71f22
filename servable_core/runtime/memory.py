"""Resident memory: how much is left, and giving back what nobody uses any more."""

import contextlib
import ctypes
import gc
import math
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

_SHORT_ABOVE = 0.9
# Version 2 and version 1 of control groups; a container sees its own group as the root.
_LIMIT_FILES = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def release_unused_memory() -> None:
    """Collects garbage and returns free heap pages, where the C library can do that (glibc).

    Takes from milliseconds up to seconds in a large process; any thread may call it.
    """
    gc.collect()
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    try:
        function: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):  # musl, macOS, Windows: the allocator decides by itself
        return None
    return function


def is_memory_short() -> bool:
    """Whether this process's resident memory is near what its container, or the machine, allows."""
    return resident_bytes() > _SHORT_ABOVE * memory_limit_bytes()


def resident_bytes() -> int:
    """Returns the resident memory of this process; 0 where the system does not tell (not Linux)."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


@cache
def memory_limit_bytes() -> float:
    """Returns the most memory that this process may use; infinity where the system does not tell."""
    limits = [_number(path) for path in _LIMIT_FILES]
    with contextlib.suppress(ValueError, OSError):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(limits)


def _number(path: Path) -> float:
    try:
        return float(path.read_text())
    except (OSError, ValueError):  # no such file, or "max"
        return math.inf

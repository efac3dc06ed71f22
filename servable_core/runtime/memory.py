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
_CONTROL_GROUP = Path("/sys/fs/cgroup")  # a container sees its own group as the root
# Of control groups of version 2 and version 1.
_LIMIT_FILES = ("memory.max", "memory/memory.limit_in_bytes")
# What the processes of a group hold that cannot be dropped: page caches aside.
_HELD_STATISTICS = (("memory.stat", "anon"), ("memory/memory.stat", "total_rss"))


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


def is_memory_short(control_group: Path = _CONTROL_GROUP) -> bool:
    """Whether resident memory is near what this process's container, or the machine, allows.

    Where the container tells what all of its processes hold, that counts: workers share its limit.
    """
    held = [_statistic(control_group / file, name) for file, name in _HELD_STATISTICS]
    return max(resident_bytes(), *held) > _SHORT_ABOVE * memory_limit_bytes(control_group)


def resident_bytes() -> int:
    """Returns the resident memory of this process; 0 where the system does not tell (not Linux)."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


@cache
def memory_limit_bytes(control_group: Path = _CONTROL_GROUP) -> float:
    """Returns the most memory that this process may use; infinity where the system does not tell."""
    limits = [_number(control_group / file) for file in _LIMIT_FILES]
    with contextlib.suppress(ValueError, OSError):
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(limits)


def _number(path: Path) -> float:
    try:
        return float(path.read_text())
    except (OSError, ValueError):  # no such file, or "max"
        return math.inf


def _statistic(path: Path, name: str) -> float:
    """Returns a line's number; 0 where there is no such file, or line."""
    try:
        words = [line.split() for line in path.read_text().splitlines()]
        return float(dict(words).get(name, 0))
    except (OSError, ValueError):
        return 0.0

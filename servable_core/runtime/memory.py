"""Gives memory that nobody uses any more back to the operating system."""

import ctypes
import gc
from collections.abc import Callable
from functools import cache


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

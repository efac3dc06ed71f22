"""Pauses Python's cyclic garbage collector while large libraries are imported.

Imports make millions of objects and no garbage; the collector walks them again and again all the
same. Without it TensorFlow and Beam load in two thirds of the time.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collection_paused() -> Iterator[None]:
    """Collects nothing during the body, and never looks again at what exists at its end.

    Nests; does nothing where collection is off already.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()

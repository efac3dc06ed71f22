"""Stacks of all threads as text, for the report of a call that hangs."""

import sys
import threading
import traceback


def all_stacks() -> str:
    """Returns every thread's name and Python stack, innermost call last."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    blocks = [
        f"thread {names.get(ident, ident)}:\n{''.join(traceback.format_stack(frame))}"
        for ident, frame in sys._current_frames().items()  # noqa: SLF001 - the documented way
    ]
    return "\n".join(blocks)

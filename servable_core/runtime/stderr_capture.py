"""Keeps native libraries' start-up lines out of the user's terminal.

TensorFlow writes to file descriptor 2 from C++ before any log level applies, so Python-level
redirection does not help.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def captured_stderr(*, enabled: bool = True) -> Iterator[None]:
    """Discards what the whole process writes to stderr meanwhile, unless the body fails.

    On an exception everything captured is written out, since it may explain the failure.
    Not re-entrant from several threads at once.
    """
    if not enabled:
        yield
        return
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as sink:
        os.dup2(sink.fileno(), 2)
        try:
            yield
        except Exception:
            _restore(saved)
            sink.seek(0)
            os.write(2, sink.read())
            raise
        except BaseException:  # an interruption explains itself
            _restore(saved)
            raise
        _restore(saved)


def _restore(saved: int) -> None:
    sys.stderr.flush()
    os.dup2(saved, 2)
    os.close(saved)

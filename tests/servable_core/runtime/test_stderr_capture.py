import subprocess
import sys
from pathlib import Path

from servable_core.runtime.stderr_capture import captured_stderr

_ROOT = Path(__file__).resolve().parents[3]
# A process of its own, for pytest has replaced this one's stderr.
_PRELUDE = """
import os, subprocess, sys
from servable_core.runtime.stderr_capture import captured_stderr

def write_everywhere():
    print("python", file=sys.stderr)
    os.write(2, b"native\\n")
    subprocess.run([sys.executable, "-c", "import os; os.write(2, b'child\\\\n')"], check=True)

print("before", file=sys.stderr)
"""


def _stderr_of(body):
    """Runs `body` and returns the lines that it left on stderr."""
    done = subprocess.run(
        [sys.executable, "-c", _PRELUDE + body],
        capture_output=True,
        text=True,
        check=False,
        cwd=_ROOT,
        timeout=60,
    )
    return done.stderr.splitlines()


def test_discards_what_is_written():
    """Nothing that is written in the body comes out, by Python, native code or a child."""
    body = """
with captured_stderr():
    write_everywhere()
print("after", file=sys.stderr)
"""
    assert _stderr_of(body) == ["before", "after"]


def _lines_when_the_body_raises(error):
    body = f"""
try:
    with captured_stderr():
        write_everywhere()
        raise {error}
except BaseException as error:
    print("caught", type(error).__name__, file=sys.stderr)
os.write(2, b"after\\n")
"""
    return _stderr_of(body)


def test_replays_on_error():
    """What was written before a failure may explain it, and comes out in full."""
    lines = _lines_when_the_body_raises("RuntimeError('boom')")
    assert sorted(lines[:4]) == ["before", "child", "native", "python"]
    assert lines[4:] == ["caught RuntimeError", "after"]


def test_discards_on_interruption():
    """An interruption explains itself: nothing is replayed."""
    lines = _lines_when_the_body_raises("KeyboardInterrupt()")
    assert lines == ["before", "caught KeyboardInterrupt", "after"]


def test_disabled():
    """Switched off it does nothing."""
    body = """
with captured_stderr(enabled=False):
    os.write(2, b"within\\n")
"""
    assert _stderr_of(body) == ["before", "within"]


def test_leaves_no_descriptors_open():
    """Repeated use leaks nothing."""
    descriptors = Path("/proc/self/fd")
    before = len(list(descriptors.iterdir()))
    for _ in range(5):
        with captured_stderr():
            pass
    assert len(list(descriptors.iterdir())) == before

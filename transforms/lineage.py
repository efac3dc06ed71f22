"""Where an output comes from: the command that made it, and the versions of what computed it."""

import platform
import re
import shlex
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = ("bulk-inference", "tensorflow", "apache-beam", "pyarrow", "numpy")
_SECRET = re.compile(r"secret|password|token|credential|access_key|connection_string")
_MASK = "***"


@cache
def package_versions() -> dict[str, str]:
    """Returns the versions of Python and of the packages that decide what a job computes."""
    return {"python": platform.python_version()} | {
        name: _version(name) or "unknown" for name in _PACKAGES
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def command_line(args: Sequence[str]) -> str:
    """Returns the command as a shell takes it; values of flags that name a secret are masked."""
    masked = []
    hides_next = False
    for arg in args:
        name, equals, _ = arg.partition("=")
        is_flag = arg.startswith("--")
        is_secret = is_flag and _SECRET.search(name.lower()) is not None
        if hides_next and not is_flag:
            masked.append(_MASK)
        else:
            masked.append(f"{name}={_MASK}" if is_secret and equals else arg)
        hides_next = is_secret and not equals
    return shlex.join(masked)

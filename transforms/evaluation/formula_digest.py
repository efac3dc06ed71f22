"""A digest of what turns states into metrics, by which written metrics are known to be its own."""

import hashlib
import sys
from collections.abc import Iterator
from functools import cache
from importlib import resources
from importlib.metadata import version
from pathlib import Path

from transforms.lineage import package_versions

# Everything that finalises lies in these.
_PACKAGES = ("transforms.metrics", "transforms.evaluation")


def formula_digest(own_metrics: str | None = None) -> str:
    """Returns a digest of our code, and of the packages that compute.

    Args:
        own_metrics: `package.module:function` of metrics of your own; it must be imported.
    """
    digest = hashlib.sha256(_our_digest().encode())
    if own_metrics is not None:
        module = sys.modules.get(own_metrics.partition(":")[0])
        path = getattr(module, "__file__", None)
        digest.update(Path(path).read_bytes() if path else b"")
    return digest.hexdigest()


@cache
def _our_digest() -> str:
    digest = hashlib.sha256()
    for each in _contents():
        digest.update(hashlib.sha256(each).digest())
    return digest.hexdigest()


def _contents() -> Iterator[bytes]:
    packages = {**package_versions(), "scipy": version("scipy")}
    yield repr(sorted(packages.items())).encode()
    for package in _PACKAGES:
        files = resources.files(package).iterdir()
        for each in sorted(files, key=lambda file: file.name):
            if each.name.endswith(".py"):
                yield each.read_bytes()

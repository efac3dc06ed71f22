"""Fingerprints of model versions: what a job pinned, and what a worker finds when it loads.

TensorFlow's own `fingerprint.pb` hashes graph, signatures and checkpoint; older exports lack it, and
it says nothing of assets, so names and sizes of all files and the graph itself go in as well.
"""

import hashlib
from collections.abc import Sequence

from servable_core.errors import FailedPreconditionError
from servable_core.runtime.file_system import FileInfo, FileSystem
from servable_core.servables.saved_model.structure import GRAPH_FILE, relative_paths

_HASHED_CONTENT = (GRAPH_FILE, "fingerprint.pb", "variables/variables.index")


def fingerprint_version(path: str, files: Sequence[FileInfo], file_system: FileSystem) -> str:
    """Returns a hex digest that changes when the version at `path` does."""
    by_name = relative_paths(path, files)
    digest = hashlib.sha256()
    for name, info in sorted(by_name.items()):
        digest.update(f"{name}\0{info.size_bytes}\0".encode())
        if name in _HASHED_CONTENT:
            with file_system.open(info.path) as stream:
                digest.update(hashlib.sha256(stream.read()).digest())
    return digest.hexdigest()


def check_fingerprint(path: str, expected: str, found: str) -> None:
    """Raises FailedPreconditionError when a version is not the one that was planned."""
    if expected != found:
        raise FailedPreconditionError(
            f"the model at {path} changed after the job was planned (fingerprint {expected[:12]} then, {found[:12]} now):"
            " put the planned version back, or start a new job with --if_exists=overwrite"
        )

"""SavedModels of each kind, and a file system that is not this machine's."""

import io
import shutil

import pytest
from typing_extensions import override

from servable_core.runtime.file_system import FileInfo, FileSystem, LocalFileSystem
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from tests.models import save_keras_sequential, save_linear, save_signatures, save_tf1


class RemoteFileSystem(FileSystem):
    """Serves a local directory as `mem://`, where paths are only names.

    Args:
        root: What `mem://` stands for.
        truncated: Files whose path ends so arrive without their last byte.
    """

    def __init__(self, root, truncated=None):
        self._root = str(root)
        self._truncated = truncated
        self.opened = []

    @override
    def list_files(self, directory):
        return [
            FileInfo(
                path=each.path.replace(self._root, "mem://store", 1), size_bytes=each.size_bytes
            )
            for each in LocalFileSystem().list_files(self._local(directory))
        ]

    @override
    def open(self, path):
        self.opened.append(path)
        with LocalFileSystem().open(self._local(path)) as stream:
            content = stream.read()
        if self._truncated is not None and path.endswith(self._truncated):
            content = content[:-1]
        return io.BytesIO(content)

    @override
    def local_path(self, path):
        return None

    def _local(self, path):
        return path.replace("mem://store", self._root, 1)


@pytest.fixture(scope="session", name="models")
def _models(tmp_path_factory):
    """One version of each kind, by name; a model without variables among them."""
    tf = import_tensorflow()
    root = tmp_path_factory.mktemp("saved_models")

    def typed(a, b, c):
        return {"z": tf.cast(b, tf.float32), "text": a, "matrix": c}

    specs = {
        "a": tf.TensorSpec([None], tf.string),
        "b": tf.TensorSpec([None, 1], tf.int64),
        "c": tf.TensorSpec([None, 2, None], tf.float64),
    }
    unknown = (lambda x: {"y": x}, {"x": tf.TensorSpec(None, tf.bool)})
    return {
        "linear": save_linear(root / "linear", 1, num_features=3),
        "tf1": save_tf1(root / "tf1", 1, num_features=4),
        "keras": save_keras_sequential(root / "keras", 1, num_features=5),
        "typed": save_signatures(
            root / "typed", 1, {"serving_default": (typed, specs), "unknown": unknown}
        ),
    }


@pytest.fixture(name="copy")
def _copy(models, tmp_path):
    """A copy of the linear model, to be changed."""
    path = tmp_path / "linear" / "1"
    shutil.copytree(models["linear"], path)
    return path

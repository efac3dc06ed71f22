import math
import tempfile
import weakref
from pathlib import Path

import numpy as np
import pytest

from servable_core.errors import (
    DataLossError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
)
from servable_core.lifecycle import ServableData, ServableId
from servable_core.managers import AspiredVersionsManager
from servable_core.managers.aspired_versions_manager import AspiredVersionsManagerOptions
from servable_core.resources import InsufficientResourcesError, host_ram
from servable_core.runtime.file_system import LocalFileSystem
from servable_core.servables.saved_model.fingerprint import fingerprint_version
from servable_core.servables.saved_model.loader import create_saved_model_loader
from servable_core.servables.saved_model.options import SavedModelOptions
from servable_core.servables.saved_model.resource_estimate import OVERRIDE_FILE
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from tests.models import call_model, save_signatures
from tests.servable_core.servables.saved_model.conftest import RemoteFileSystem

_ID = ServableId("linear", 1)


@pytest.fixture(name="load")
def _load():
    """Loads a model, and unloads all that were loaded at the end."""
    loaders = []

    def load(path, file_system=None, fingerprint=None):
        loader = create_saved_model_loader(
            _ID, str(path), file_system or LocalFileSystem(), fingerprint
        )
        loader.load()
        loaders.append(loader)
        return loader.servable

    yield load
    for loader in loaders:
        loader.unload()


@pytest.fixture(name="temporary", autouse=True)
def _temporary(tmp_path, monkeypatch):
    """A directory for temporary files of its own, to see what stays there."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    return directory


_X = np.arange(6, dtype=np.float32).reshape(2, 3)


class TestPredict:
    def test_equals_a_direct_call(self, models, load):
        """What the servable answers is what the model answers."""
        outputs = load(models["linear"]).predict("serving_default", {"features": _X}, ["score"])
        assert list(outputs) == ["score"]
        np.testing.assert_array_equal(
            outputs["score"], call_model(models["linear"], features=_X)["score"]
        )

    def test_only_what_is_asked_for(self, models, load):
        """Other outputs are left out."""
        inputs = {"x": np.zeros((3, 4), np.float32)}
        bundle = load(models["tf1"])
        assert list(bundle.predict("serving_default", inputs, ["argmax"])) == ["argmax"]
        assert list(bundle.predict("serving_default", inputs, [])) == []

    def test_strings_are_bytes(self, models, load):
        """Text goes in and comes out as bytes, whatever is in them."""
        inputs = {
            "a": np.array([b"\xff", b""], object),
            "b": np.array([[1], [2]]),
            "c": np.zeros((2, 2, 3)),
        }
        outputs = load(models["typed"]).predict("serving_default", inputs, ["text", "z"])
        assert outputs["text"].tolist() == [b"\xff", b""]
        assert outputs["z"].dtype == np.float32

    def test_bfloat16_becomes_float32(self, load, tmp_path):
        """A type that Arrow lacks is widened to one that holds all of its values."""
        tf = import_tensorflow()
        specs = {"x": tf.TensorSpec([None], tf.float32)}
        half = (lambda x: {"y": tf.cast(x, tf.bfloat16)}, specs)
        path = save_signatures(tmp_path / "half", 1, {"serving_default": half})
        outputs = load(path).predict("serving_default", {"x": np.float32([1, 2])}, ["y"])
        assert outputs["y"].dtype == np.float32
        assert outputs["y"].tolist() == [1.0, 2.0]

    def test_unknown_signature(self, models, load):
        """A signature that is not there is named with the model."""
        with pytest.raises(NotFoundError, match="has no signature 'nothing'"):
            load(models["linear"]).predict("nothing", {"features": _X}, [])

    def test_errors_of_the_model(self, load, tmp_path):
        """What a model raises is told in its own words, with its code, on one line."""
        tf = import_tensorflow()
        specs = {"x": tf.TensorSpec([None], tf.int32)}
        gather = (lambda x: {"y": tf.gather(tf.constant([1.0, 2.0]), x)}, specs)
        path = save_signatures(tmp_path / "gather", 1, {"serving_default": gather})
        with pytest.raises(InvalidArgumentError) as caught:
            load(path).predict("serving_default", {"x": np.array([5], np.int32)}, ["y"])
        assert str(caught.value).endswith(
            "signature 'serving_default': indices[0] = 5 is not in [0, 2)"
        )


class TestFingerprints:
    def test_the_planned_version(self, models, load):
        """The version that was planned is loaded."""
        file_system = LocalFileSystem()
        path = models["linear"]
        fingerprint = fingerprint_version(path, file_system.list_files(path), file_system)
        assert load(path, fingerprint=fingerprint).signatures

    def test_another_version(self, copy, load):
        """Another one is refused before anything of it is loaded."""
        file_system = RemoteFileSystem(copy)
        with pytest.raises(FailedPreconditionError, match="changed after the job was planned"):
            load("mem://store", file_system, fingerprint="0" * 64)
        assert not [path for path in file_system.opened if ".data-" in path]


class TestRemoteModels:
    def test_copied_and_removed(self, models, load, temporary):
        """A remote model answers as a local one does, and leaves no copy behind."""
        file_system = RemoteFileSystem(models["linear"])
        bundle = load("mem://store", file_system)
        outputs = bundle.predict("serving_default", {"features": _X}, ["score"])
        np.testing.assert_array_equal(
            outputs["score"], call_model(models["linear"], features=_X)["score"]
        )
        assert list(temporary.iterdir()) == []

    @pytest.mark.parametrize("name", [".data-00000-of-00001", "fingerprint.pb"])
    def test_truncated_on_the_way(self, models, load, temporary, name):
        """A file that arrives shorter than it was listed is data loss, and nothing stays."""
        file_system = RemoteFileSystem(models["linear"], truncated=name)
        with pytest.raises(DataLossError) as caught:
            load("mem://store", file_system)
        size = Path(models["linear"], "fingerprint.pb").stat().st_size
        if name == "fingerprint.pb":
            assert f"has {size} bytes, but {size - 1} arrived" in str(caught.value)
        assert "try again" in str(caught.value)
        assert list(temporary.iterdir()) == []


def test_missing_model(load, tmp_path):
    """A version that is gone is not found."""
    with pytest.raises(NotFoundError, match=r"is not a complete SavedModel: it has no saved_model"):
        load(tmp_path / "nothing")


class TestMemory:
    def test_counts_as_its_files_times_1_2(self, models):
        """The same before the load and after it, read once."""
        loader = create_saved_model_loader(_ID, models["linear"], LocalFileSystem(), None)
        size_bytes = sum(each.size_bytes for each in LocalFileSystem().list_files(models["linear"]))
        before = loader.estimate_resources()
        loader.load()
        assert before == loader.estimate_resources() == host_ram(math.ceil(1.2 * size_bytes))
        loader.unload()

    def test_what_only_the_load_needs_is_free_afterwards(self, copy):
        """The file of the exporter tells both; nobody reads it again after the load."""
        override = copy / OVERRIDE_FILE
        override.parent.mkdir()
        override.write_text('{"ram_in_bytes": 1000, "transient_ram_in_bytes": 500}')
        loader = create_saved_model_loader(_ID, str(copy), LocalFileSystem(), None)
        assert loader.estimate_resources() == host_ram(1500)
        loader.load()
        override.unlink()
        assert loader.estimate_resources() == host_ram(1000)
        loader.unload()

    def test_more_than_there_is_is_refused(self, models):
        """A manager with a total does not even begin to load what cannot fit."""
        options = AspiredVersionsManagerOptions(total_resources=host_ram(100))
        loader = create_saved_model_loader(_ID, models["linear"], LocalFileSystem(), None)
        with AspiredVersionsManager(options=options) as manager:
            manager.set_aspired_versions(_ID.name, [ServableData.of(_ID, loader)])
            with pytest.raises(InsufficientResourcesError):
                manager.wait_until_available([_ID], 30)

    @pytest.mark.parametrize("jit_compile", [False, True])
    @pytest.mark.parametrize("name", ["linear", "tf1", "keras", "typed"])
    def test_unloading_frees_everything(self, models, name, jit_compile):
        """No variable and no function outlives the unload, also after calls and errors."""
        options = SavedModelOptions(jit_compile=jit_compile)
        loader = create_saved_model_loader(
            _ID, models[name], LocalFileSystem(), None, options=options
        )
        loader.load()
        kept = _weak_references(loader.servable)
        with pytest.raises(NotFoundError):
            loader.servable.predict("nothing", {}, [])
        loader.unload()
        assert [each for each in kept if each() is not None] == []


def _weak_references(bundle):
    """Refers to the model, its functions and what they capture: the variables' memory."""
    (replica,) = bundle._replicas
    functions = [replica._functions[each] for each in bundle.signatures]
    graphs = [function.graph for function in functions]
    captures = [external for graph in graphs for external, _ in graph.captures]
    everything = (bundle, replica, replica._root, *functions, *graphs, *captures)
    return [weakref.ref(each) for each in everything]

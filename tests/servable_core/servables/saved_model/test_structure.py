import shutil

import pytest

from servable_core.errors import DataLossError, NotFoundError
from servable_core.runtime.file_system import LocalFileSystem
from servable_core.servables.saved_model.structure import read_signatures, relative_paths
from tests.servable_core.servables.saved_model.conftest import RemoteFileSystem

_DATA = "variables/variables.data-00000-of-00001"


def _read(path):
    file_system = LocalFileSystem()
    return read_signatures(str(path), file_system.list_files(str(path)), file_system)


def _words(tensors):
    return [str(each) for each in tensors]


class TestSignatures:
    def test_module(self, models):
        """A function's signature has its names, types and shapes, sorted by name."""
        (signature,) = _read(models["linear"]).values()
        assert signature.name == "serving_default"
        assert _words(signature.inputs) == ["features: float32 [None, 3]"]
        assert _words(signature.outputs) == ["score: float32 [None, 1]"]

    def test_tf1(self, models):
        """Graphs of sessions have signatures, too."""
        (signature,) = _read(models["tf1"]).values()
        assert _words(signature.inputs) == ["x: float32 [None, 4]"]
        assert _words(signature.outputs) == ["argmax: int64 [None]", "y: float32 [None]"]

    def test_keras(self, models):
        """Keras exports name tensors in their own way, and have several signatures."""
        signatures = _read(models["keras"])
        assert "serving_default" in signatures
        signature = signatures["serving_default"]
        (tensor,) = signature.inputs
        assert (tensor.dtype, tensor.shape) == ("float32", (None, 5))
        assert _words(signature.outputs) == ["output_0: float32 [None, 2]"]

    def test_types_and_ranks(self, models):
        """Strings, integers, unknown sizes and unknown ranks are told apart."""
        signatures = _read(models["typed"])
        assert sorted(signatures) == ["serving_default", "unknown"]
        assert _words(signatures["serving_default"].inputs) == [
            "a: string [None]",
            "b: int64 [None, 1]",
            "c: float64 [None, 2, None]",
        ]
        assert _words(signatures["unknown"].inputs) == ["x: bool [...]"]

    def test_initialisation_is_no_signature(self, models):
        """TensorFlow's own operations are not offered for requests."""
        for path in models.values():
            assert not [name for name in _read(path) if name.startswith("__")]

    def test_remote(self, models):
        """Only graph and index are read to know a model, wherever it lies."""
        file_system = RemoteFileSystem(models["linear"])
        files = file_system.list_files("mem://store")
        signatures = read_signatures("mem://store", files, file_system)
        assert signatures == _read(models["linear"])
        assert sorted(set(file_system.opened)) == [
            "mem://store/saved_model.pb",
            "mem://store/variables/variables.index",
        ]


class TestChecks:
    def test_models_without_variables(self, models, tmp_path):
        """What has no variables needs none."""
        shutil.copytree(models["typed"], tmp_path / "1")
        shutil.rmtree(tmp_path / "1" / "variables", ignore_errors=True)
        assert "serving_default" in _read(tmp_path / "1")

    @pytest.mark.parametrize("name", ["linear", "tf1", "keras"])
    def test_models_with_variables(self, models, tmp_path, name):
        """What has variables needs them, however it was exported."""
        shutil.copytree(models[name], tmp_path / "1")
        shutil.rmtree(tmp_path / "1" / "variables")
        with pytest.raises(DataLossError, match=r"the graph has variables, but variables/.* is mi"):
            _read(tmp_path / "1")

    @pytest.mark.parametrize("name", ["linear", "tf1", "keras"])
    @pytest.mark.parametrize("keep", [0.0, 0.25, 0.9, 1.0])
    def test_truncated_data(self, models, tmp_path, name, keep):
        """Data that lack even the last byte are found by their size."""
        shutil.copytree(models[name], tmp_path / "1")
        data = tmp_path / "1" / _DATA
        content = data.read_bytes()
        data.write_bytes(content[: min(int(keep * len(content)), len(content) - 1)])
        with pytest.raises(DataLossError, match=rf"{_DATA} is truncated: it holds \d+ bytes, its"):
            _read(tmp_path / "1")

    @pytest.mark.parametrize("stray", ["variables.data-00000-of-00001.tmp", "variables.data-1"])
    def test_stray_files(self, copy, stray):
        """What other tools leave beside the variables neither helps nor harms."""
        data = copy / _DATA
        (copy / "variables" / stray).write_bytes(data.read_bytes())
        assert _read(copy)
        data.unlink()
        with pytest.raises(DataLossError, match=r"is missing \(0 of 1 variable files are there\)"):
            _read(copy)

    @pytest.mark.parametrize("content", [b"", b"x", b"x" * 1000])
    def test_corrupt_index(self, copy, content):
        """An index that cannot be read is corrupt, not a bug."""
        (copy / "variables/variables.index").write_bytes(content)
        with pytest.raises(DataLossError, match=r"variables\.index is corrupt; copy or export"):
            _read(copy)

    def test_no_graph(self, copy):
        """Without a graph it is no SavedModel."""
        (copy / "saved_model.pb").unlink()
        with pytest.raises(NotFoundError, match=r"it has no saved_model\.pb"):
            _read(copy)

    def test_graph_cut_anywhere(self, copy):
        """No prefix of a graph passes for a graph."""
        content = (copy / "saved_model.pb").read_bytes()
        for cut in range(0, len(content), max(1, len(content) // 40)):
            (copy / "saved_model.pb").write_bytes(content[:cut])
            with pytest.raises((DataLossError, NotFoundError), match=r"saved_model\.pb"):
                _read(copy)

    def test_not_for_serving(self, copy):
        """A graph with other tags is not one to serve."""
        from tensorflow.core.protobuf import saved_model_pb2

        graph = saved_model_pb2.SavedModel()
        graph.ParseFromString((copy / "saved_model.pb").read_bytes())
        graph.meta_graphs[0].meta_info_def.tags[:] = ["train"]
        (copy / "saved_model.pb").write_bytes(graph.SerializeToString())
        with pytest.raises(NotFoundError, match="holds no graph with the tag 'serve'"):
            _read(copy)


def test_relative_paths():
    """Files are keyed by their path below the directory, slash or no slash."""
    file_system = RemoteFileSystem("/nowhere")
    assert relative_paths("/m/", file_system.list_files("mem://store")) == {}


def test_relative_paths_of_a_model(copy):
    """The usual names are found."""
    files = LocalFileSystem().list_files(str(copy))
    for path in (str(copy), f"{copy}/"):
        assert {"saved_model.pb", _DATA} <= set(relative_paths(path, files))

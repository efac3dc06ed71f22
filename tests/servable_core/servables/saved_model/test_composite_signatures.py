"""Ragged and sparse inputs and outputs as a SavedModel's files show them, before it is loaded."""

from pathlib import Path

import pytest

from servable_core.errors import DataLossError
from servable_core.runtime.file_system import LocalFileSystem
from servable_core.servables.saved_model.structure import read_signatures
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from servable_core.servables.signature import Encoding
from tests.composite_models import (
    save_composite,
    save_lists,
    save_session_composite,
    save_untold,
)


def _read(path):
    file_system = LocalFileSystem()
    return read_signatures(path, file_system.list_files(path), file_system)


def _inputs(path, name="serving_default"):
    return {str(each): [part.name for part in each.parts] for each in _read(path)[name].inputs}


def _outputs(path, name="serving_default"):
    return [str(each) for each in _read(path)[name].outputs]


@pytest.fixture(scope="module", name="path")
def _path(tmp_path_factory):
    return save_composite(tmp_path_factory.mktemp("composite"), 1)


def test_ragged(path):
    """One input for values and row splits, which the signature lists as two; outputs likewise."""
    assert _inputs(path) == {
        "bias: float32 [None]": [],
        "x: ragged float32 [None, None]": ["x", "x_1"],
    }
    assert _outputs(path) == [
        "doubled: ragged float32 [None, None]",
        "num: int64 [None]",
        "padded: float32 [None, None]",
        "total: float32 [None]",
    ]


def test_sparse(path):
    """One input for indices, values and dense shape."""
    parts = ["ids", "ids_1", "ids_2"]
    assert _inputs(path, "sparse") == {"ids: sparse int64 [None, 10]": parts}
    assert _inputs(path, "open") == {"ids: sparse float32 [None, None]": parts}
    assert "kept: sparse int64 [None, 10]" in _outputs(path, "sparse")


def test_arrays_in_lists(path):
    """The type of the row splits is that of the part."""
    (boxes,) = _read(path)["boxes"].inputs
    assert str(boxes) == "boxes: ragged float32 [None, None, 2]"
    assert [each.dtype for each in boxes.parts] == ["float32", "int32"]


def test_lists_of_lists(path):
    """They are shown as what they are, and marked as no list of values."""
    (nested,) = _read(path)["nested"].inputs
    assert (nested.encoding, nested.dtype) == (Encoding.RAGGED, "composite")
    assert nested.shape == (None, None, None)


def test_graph_of_a_session(tmp_path):
    """Its signatures tell; the parts are called as TensorFlow calls them when it loads the graph."""
    assert _inputs(save_session_composite(tmp_path, 1)) == {
        "ids: sparse float32 [None, 10]": ["ids_indices", "ids_values", "ids_dense_shape"],
        "tags: ragged int64 [...]": ["tags_component_0", "tags_component_1"],
    }


def test_list_of_dense_tensors(tmp_path):
    """Their names are those of parts, but the function that was saved takes them so."""
    assert _inputs(save_lists(tmp_path, 1)) == {
        "pair: float32 [None]": [],
        "pair_1: int64 [None]": [],
    }


def test_function_that_was_not_saved(tmp_path):
    """Then nobody can tell values and row splits from two tensors in a list."""
    inputs = _read(save_untold(tmp_path, 1))["serving_default"].inputs
    assert [(each.name, each.encoding) for each in inputs] == [
        ("x", Encoding.UNTOLD),
        ("x_1", Encoding.UNTOLD),
    ]


def test_damaged_type(path, tmp_path):
    """A type that lacks what it should have is an error that names the file."""
    import_tensorflow()
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel()
    model.ParseFromString(Path(path, "saved_model.pb").read_bytes())
    output = model.meta_graphs[0].signature_def["serving_default"].outputs["doubled"]
    del output.composite_tensor.type_spec.type_state.tuple_value.values[2:]
    (tmp_path / "saved_model.pb").write_bytes(model.SerializeToString())
    with pytest.raises(DataLossError, match=r"saved_model\.pb is corrupt: its signatures"):
        _read(str(tmp_path))

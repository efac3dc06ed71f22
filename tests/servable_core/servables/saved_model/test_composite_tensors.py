"""Rows to the parts of ragged and sparse tensors, and a model's ragged and sparse outputs to rows."""

import numpy as np
import pytest

from servable_core.batching.ragged_array import RaggedArray
from servable_core.errors import FailedPreconditionError, InvalidArgumentError
from servable_core.lifecycle import ServableId
from servable_core.runtime.file_system import LocalFileSystem
from servable_core.servables.saved_model.composite_tensors import (
    ragged_parts,
    sparse_parts,
    to_array,
    to_parts,
)
from servable_core.servables.saved_model.loader import create_saved_model_loader
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from servable_core.servables.saved_model.warmup import WarmupOptions
from servable_core.servables.signature import SignatureSpec, TensorSpec
from tests.composite_models import save_composite

ROWS = RaggedArray.from_rows([[9], [1, 2, 3], [], [4]], "float32")


class TestParts:
    def test_slice_of_rows(self):
        """Splits begin at 0, wherever the rows lie in their memory."""
        values, splits = ragged_parts(ROWS[1:])
        assert values.tolist() == [1, 2, 3, 4]
        assert splits.tolist() == [0, 3, 3, 4]

    @pytest.mark.parametrize(("width", "expected"), [(None, [3, 3]), (5, [3, 5])])
    def test_sparse(self, width, expected):
        """Values in front, and as wide as is told, or as the longest row."""
        indices, values, shape = sparse_parts(ROWS[1:], width)
        assert indices.tolist() == [[0, 0], [0, 1], [0, 2], [2, 0]]
        assert values.tolist() == [1, 2, 3, 4]
        assert shape.tolist() == expected

    def test_no_rows(self):
        """Nothing has no places."""
        indices, values, shape = sparse_parts(ROWS[:0], None)
        assert (indices.shape, len(values), shape.tolist()) == ((0, 2), 0, [0, 0])

    def test_row_wider_than_the_tensor(self):
        """It would have no place."""
        with pytest.raises(InvalidArgumentError, match="at most 2 values, got 3"):
            sparse_parts(ROWS, 2)

    def test_dense_input(self):
        """Rows of different lengths for it are a mistake of the caller's."""
        x = TensorSpec(name="x", dtype="float32", shape=(None, None))
        signature = SignatureSpec(name="s", inputs=(x,), outputs=())
        with pytest.raises(InvalidArgumentError, match=r"x: float32 \[None, None\].*pad them"):
            to_parts(signature, {"x": ROWS})


class TestOutputs:
    def test_ragged(self):
        """Rows, of arrays too."""
        tf = import_tensorflow()
        found = to_array(tf.ragged.constant([[[1, 2]], [], [[3, 4], [5, 6]]], ragged_rank=1))
        assert [found.row(index).tolist() for index in range(3)] == [
            [[1, 2]],
            [],
            [[3, 4], [5, 6]],
        ]

    def test_sparse(self):
        """Dense, whatever the order of the indices."""
        tf = import_tensorflow()
        sparse = tf.SparseTensor([[1, 0], [0, 2]], [7, 8], [2, 3])
        assert to_array(sparse).tolist() == [[0, 0, 8], [7, 0, 0]]

    def test_lists_of_lists(self):
        """What cannot be written is told."""
        tf = import_tensorflow()
        with pytest.raises(FailedPreconditionError, match="ragged in 2 dimensions"):
            to_array(tf.ragged.constant([[[1], [2, 3]], []], ragged_rank=2))


class TestModel:
    @pytest.fixture(scope="class", name="path")
    def _path(self, tmp_path_factory):
        return save_composite(tmp_path_factory.mktemp("composite"), 1)

    def _load(self, path, **warmup):
        loader = create_saved_model_loader(
            ServableId("m", 1), path, LocalFileSystem(), None, warmup=WarmupOptions(**warmup)
        )
        loader.load()
        return loader

    def test_predict_takes_rows_or_parts(self, path):
        """Rows for whoever batches them, parts for who has them as the model takes them."""
        loader = self._load(path)
        bias, outputs = np.zeros(4, np.float32), ["total", "doubled"]
        parts = {"x": np.array([9, 1, 2, 3, 4], np.float32), "x_1": np.array([0, 1, 4, 4, 5])}
        for inputs in ({"x": ROWS}, parts):
            found = loader.servable.predict("serving_default", {**inputs, "bias": bias}, outputs)
            assert found["total"].tolist() == [10, 7, 1, 5]
            assert found["doubled"].row(1).tolist() == [2, 4, 6]
        loader.unload()

    def test_strings_of_empty_rows(self, path):
        """No value at all is still one of strings."""
        loader = self._load(path)
        words = RaggedArray(np.zeros(0, object), np.zeros(3, np.int64))
        found = loader.servable.predict("words", {"words": words}, ["joined", "upper"])
        assert found["joined"].tolist() == [b"", b""]
        assert found["upper"].lengths.tolist() == [0, 0]
        loader.unload()

    def test_made_up_batches(self, path, caplog):
        """A warm-up makes up lists, too."""
        self._load(path, synthetic_batch_sizes=(1, 4)).unload()
        assert "not warmed up" not in caplog.text

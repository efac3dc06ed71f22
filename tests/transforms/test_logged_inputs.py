import numpy as np
import pytest

from servable_core.batching.length_ladder import LengthLadder
from servable_core.batching.padding import Derivation, DerivedInput, PaddingOptions, pad_inputs
from servable_core.batching.ragged_array import RaggedArray
from transforms.logged_inputs import logged_inputs

_MASK = DerivedInput(name="mask", of="x", derivation=Derivation.MASK, dtype="int64")
_LENGTHS = DerivedInput(name="size", of="x", derivation=Derivation.LENGTHS, dtype="int32")
_RAGGED = RaggedArray.from_rows([[1, 2, 3], [], [4]], "float32")


def test_nothing_to_derive():
    """Inputs are logged as they were submitted."""
    assert logged_inputs({"x": _RAGGED}, ()) == {"x": _RAGGED}


@pytest.mark.parametrize("source", [_RAGGED, RaggedArray(_RAGGED.values, _RAGGED.offsets)[1:]])
def test_each_row_is_what_padding_it_alone_gives(source):
    """Mask and length of a row are those that batching makes when the row is alone."""
    logged = logged_inputs({"x": source}, (_MASK, _LENGTHS))
    options = PaddingOptions(ladder=LengthLadder(rungs=(1, 2, 3, 4)), derived=(_MASK, _LENGTHS))
    for row in range(len(source)):
        alone = pad_inputs({"x": source[row : row + 1]}, options).inputs
        num_values = int(source.lengths[row])
        assert logged["mask"].row(row).tolist() == alone["mask"][0, :num_values].tolist()
        assert logged["size"][row] == alone["size"][0] == num_values
    assert (logged["mask"].dtype, logged["size"].dtype) == (np.int64, np.int32)


def test_dense_source():
    """A dense input has all its values."""
    logged = logged_inputs({"x": np.zeros((2, 3))}, (_MASK, _LENGTHS))
    assert logged["mask"].tolist() == [[1, 1, 1], [1, 1, 1]]
    assert logged["size"].tolist() == [3, 3]

import numpy as np
import pytest

from servable_core.batching.padding import Derivation, DerivedInput, PaddingOptions
from servable_core.batching.ragged_array import RaggedArray
from transforms.ragged_outputs import without_fixed_outputs

PADDING = PaddingOptions(
    derived=(DerivedInput(name="m", of="x", derivation=Derivation.MASK, dtype="float32"),),
    ragged_outputs=frozenset({"tokens", "classes", "pair", "score"}),
)


def _model(inputs):
    x = inputs["x"] * inputs["m"] + inputs["bias"][:, None]
    return {
        "tokens": x,
        "classes": np.zeros((len(x), 16)),
        "pair": np.zeros((len(x), 2)),
        "score": x.sum(axis=1),
        "unasked": x,
    }


def _inputs(rows):
    return {
        "x": RaggedArray.from_rows(rows, "float32"),
        "bias": np.ones(len(rows), np.float32),
    }


@pytest.mark.parametrize("rows", [[[1.0] * 40, [2.0]], [[], [1.0]], [[1.0]], [[1.0, 2.0]]])
def test_only_outputs_that_grow_are_ragged(rows):
    """Outputs that are as long as rows are padded stay ragged; all others keep their width."""
    found = without_fixed_outputs(PADDING, _inputs(rows), _model)
    assert found.ragged_outputs == {"tokens"}
    assert (found.ladder, found.derived) == (PADDING.ladder, PADDING.derived)


def test_rows_from_the_middle():
    """It is the first row submitted that is run, with its own values."""
    seen = []

    def run(inputs):
        seen.append(inputs["x"].tolist())
        return _model(inputs)

    inputs = {name: value[1:] for name, value in _inputs([[9.0] * 5, [1.0, 2.0, 3.0]]).items()}
    without_fixed_outputs(PADDING, inputs, run)
    assert seen == [[[1.0, 2.0]], [[1.0, 2.0, 0.0]]]


def test_model_that_refuses():
    """A model that cannot take so short rows leaves everything as it was."""

    def run(_inputs):
        raise ValueError("too short")

    assert without_fixed_outputs(PADDING, _inputs([[1.0]]), run) is PADDING


@pytest.mark.parametrize("padding", [PADDING, PaddingOptions()])
def test_nothing_to_find_out(padding):
    """Without rows, or without outputs that may be ragged, the model is not run."""
    rows = [] if padding is PADDING else [[1.0]]
    calls = []
    assert without_fixed_outputs(padding, _inputs(rows), calls.append) is padding
    assert calls == []

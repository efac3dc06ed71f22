import pytest

from servable_core.errors import NotFoundError
from servable_core.servables.signature import (
    SignatureSpec,
    TensorSpec,
    find_signature,
    format_shape,
)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [(None, "[...]"), ((), "[]"), ((None,), "[None]"), ((None, 32, None), "[None, 32, None]")],
)
def test_format_shape(shape, expected):
    """Shapes are written as users write them."""
    assert format_shape(shape) == expected


def test_tensor_in_words():
    """A tensor is its name, type and shape."""
    assert str(TensorSpec(name="x", dtype="int64", shape=(None, 2))) == "x: int64 [None, 2]"


_SIGNATURES = {name: SignatureSpec(name=name, inputs=(), outputs=()) for name in ("serve", "embed")}


class TestFindSignature:
    def test_found(self):
        """A signature is found by its name."""
        assert find_signature(_SIGNATURES, "embed", "m/1").name == "embed"

    def test_missing(self):
        """One that is not there is named beside those that are, with what the caller can do."""
        with pytest.raises(NotFoundError) as caught:
            find_signature(_SIGNATURES, "score", "m/1", remedy="write another")
        assert str(caught.value) == (
            "model m/1 has no signature 'score'; it has 'embed', 'serve': write another"
        )

    def test_none_at_all(self):
        """A model without signatures is told so."""
        with pytest.raises(NotFoundError, match="it has none at all"):
            find_signature({}, "score", "m/1")

import pytest

from servable_core.errors import InvalidArgumentError, NotFoundError
from servable_core.servables.signature import SignatureSpec, TensorSpec
from transforms.heads import find_heads, head_names, predict_heads


def _specs(**dtypes):
    return tuple(TensorSpec(name=name, dtype=each, shape=(None,)) for name, each in dtypes.items())


def _signature(name, inputs, outputs):
    return SignatureSpec(name=name, inputs=_specs(**inputs), outputs=_specs(**outputs))


_SIGNATURES = {
    "a": _signature("a", {"x": "float32"}, {"scores": "float32", "classes": "string"}),
    "b": _signature("b", {"y": "int64", "x": "float32"}, {"scores": "float32"}),
    "other": _signature("other", {"x": "int64"}, {"scores": "float32"}),
}


def _find(name):
    return find_heads(_SIGNATURES, name, "m/1", remedy="ask for another")


class TestFindHeads:
    def test_one(self):
        """A single name is the model's own signature."""
        assert _find("a") is _SIGNATURES["a"]

    def test_several(self):
        """Several take what either takes, once, and return all that they return."""
        both = _find("a,b")
        assert both.name == "a,b"
        assert both.inputs == _specs(x="float32", y="int64")
        assert both.outputs == _specs(a_classes="string", a_scores="float32", b_scores="float32")

    def test_inputs_that_differ(self):
        """One input cannot be of two types."""
        with pytest.raises(
            InvalidArgumentError, match=r"x: float32 \[None\] and x: int64 \[None\]"
        ):
            _find("a,other")

    def test_missing(self):
        """Each must be there."""
        with pytest.raises(NotFoundError, match=r"no signature 'c'.*: ask for another"):
            _find("a,c")

    def test_outputs_of_one_name(self):
        """Names that run together are told."""
        signatures = {
            "p": _signature("p", {}, {"q_c": "float32"}),
            "p_q": _signature("p_q", {}, {"c": "float32"}),
        }
        with pytest.raises(InvalidArgumentError, match="would be called 'p_q_c'"):
            find_heads(signatures, "p,p_q", "m/1", remedy="")

    @pytest.mark.parametrize(
        ("text", "message"), [("a,a", "names 'a' twice"), ("a,", "a name is empty")]
    )
    def test_bad_names(self, text, message):
        """A signature runs once, and has a name."""
        with pytest.raises(InvalidArgumentError, match=message):
            head_names(text)


class TestPredictHeads:
    def _predict(self, name, outputs):
        calls = []

        def predict(signature, inputs, names):
            calls.append((signature, dict(inputs), list(names)))
            return {each: f"{each} of {signature}" for each in names}

        inputs = {"x": 1, "y": 2} if "b" in name else {"x": 1}
        return predict_heads(_SIGNATURES, name, inputs, outputs, predict), calls

    def test_one(self):
        """A single name is run as it is."""
        result, calls = self._predict("a", ["scores"])
        assert result == {"scores": "scores of a"}
        assert calls == [("a", {"x": 1}, ["scores"])]

    def test_several(self):
        """Each head gets its own inputs, and its outputs get its name."""
        result, calls = self._predict("a,b", ["a_classes", "a_scores", "b_scores"])
        assert result == {
            "a_classes": "classes of a",
            "a_scores": "scores of a",
            "b_scores": "scores of b",
        }
        assert calls == [
            ("a", {"x": 1}, ["scores", "classes"]),
            ("b", {"x": 1, "y": 2}, ["scores"]),
        ]

    def test_unwanted(self):
        """A head of which nothing is wanted is not run."""
        result, calls = self._predict("a,b", ["b_scores"])
        assert result == {"b_scores": "scores of b"}
        assert [name for name, *_ in calls] == ["b"]

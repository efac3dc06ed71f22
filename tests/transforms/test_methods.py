import numpy as np
import pytest

from servable_core.batching.ragged_array import RaggedArray
from servable_core.errors import InvalidArgumentError
from servable_core.servables.signature import SignatureSpec, TensorSpec
from transforms.methods import check_method, method_outputs, output_columns


def _signature(outputs, inputs=("inputs",)):
    return SignatureSpec(
        name="s",
        inputs=tuple(TensorSpec(name=each, dtype="string", shape=(None,)) for each in inputs),
        outputs=tuple(
            TensorSpec(name=name, dtype=dtype, shape=shape)
            for name, (dtype, shape) in outputs.items()
        ),
    )


_CLASSES = ("string", (None, None))
_SCORES = ("float32", (None, 3))


class TestOutputColumns:
    @pytest.mark.parametrize(
        ("method", "outputs", "columns"),
        [
            ("predict", {"a": _SCORES, "b": _CLASSES}, {"a": "a", "b": "b"}),
            (
                "classify",
                {"classes": _CLASSES, "scores": _SCORES},
                {"classes": "classes", "scores": "scores"},
            ),
            ("classify", {"scores": _SCORES}, {"scores": "scores"}),
            ("classify", {"classes": _CLASSES}, {"classes": "classes"}),
            ("classify", {"classes": ("string", None)}, {"classes": "classes"}),
            ("classify", {"other": _SCORES, "scores": _SCORES}, {"scores": "scores"}),
            ("regress", {"outputs": ("float32", (None,))}, {"outputs": "value"}),
            ("regress", {"outputs": ("float32", (None, 1))}, {"outputs": "value"}),
            ("regress", {"outputs": ("float32", None)}, {"outputs": "value"}),
        ],
    )
    def test_fitting_signatures(self, method, outputs, columns):
        """Each method has its outputs, and its names for them."""
        assert output_columns(method, _signature(outputs), "m/1") == columns

    @pytest.mark.parametrize(
        ("method", "outputs", "message"),
        [
            ("classify", {"probabilities": _SCORES}, "returns 'probabilities', where 'classes', 'scores' or both"),
            ("classify", dict.fromkeys(["classes", "scores", "x"], _SCORES), "'classes', 'scores', 'x', where"),
            ("classify", {"scores": ("float64", (None, 3))}, "float64 .*where float32 is expected"),
            ("classify", {"classes": ("int64", (None, 3))}, "int64 .*where string is expected"),
            ("classify", {"scores": ("float32", (None,))}, r"where \[rows, classes\] is expected"),
            ("regress", {"value": ("float32", (None,))}, "returns 'value', where 'outputs' is expected"),
            ("regress", {"outputs": _SCORES}, r"where \[rows\] or \[rows, 1\] is expected"),
            ("regress", {"outputs": ("int32", (None,))}, "where float32 is expected"),
            ("regress", {"outputs": _SCORES, "x": _SCORES}, "returns 'outputs', 'x', where"),
        ],
    )  # fmt: skip
    def test_other_signatures(self, method, outputs, message):
        """What a server would refuse is refused, with the signature, its model and a way out."""
        with pytest.raises(InvalidArgumentError, match=message) as caught:
            output_columns(method, _signature(outputs), "m/1")
        assert f"--method={method}: signature 's' of model m/1" in str(caught.value)
        assert "--signature_name" in str(caught.value)

    @pytest.mark.parametrize("inputs", [(), ("examples",), ("inputs", "more")])
    def test_other_inputs(self, inputs):
        """Both methods take one input, of one name."""
        signature = _signature({"scores": _SCORES}, inputs)
        with pytest.raises(InvalidArgumentError, match="one input called 'inputs' is expected"):
            output_columns("classify", signature, "m/1")


class TestMethodOutputs:
    def test_predict(self):
        """Outputs are what they are."""
        outputs = {"a": np.zeros((2, 1))}
        assert method_outputs("predict", outputs, 2, "m/1") is outputs

    @pytest.mark.parametrize("num_classes", [0, 1, 3])
    def test_classify(self, num_classes):
        """Classes and scores are lists, however many; also when there is one."""
        scores = np.arange(2 * num_classes, dtype=np.float32).reshape(2, num_classes)
        classes = scores.astype(int).astype(str).astype(object)
        outputs = method_outputs("classify", {"classes": classes, "scores": scores}, 2, "m/1")
        for name, array in (("classes", classes), ("scores", scores)):
            assert isinstance(outputs[name], RaggedArray)
            assert [outputs[name].row(each).tolist() for each in range(2)] == array.tolist()

    @pytest.mark.parametrize("shape", [(2,), (2, 1)])
    def test_regress(self, shape):
        """The value is one number a row."""
        values = method_outputs("regress", {"outputs": np.ones(shape)}, 2, "m/1")["outputs"]
        assert values.tolist() == [1.0, 1.0]

    @pytest.mark.parametrize(
        ("method", "outputs", "message"),
        [
            ("classify", {"scores": np.zeros(2)}, r"'scores' of shape \[2\], where \[rows, classes\]"),
            ("classify", {"scores": np.zeros((3, 2))}, r"'scores' of shape \[3, 2\] for 2 rows"),
            ("classify", {"classes": np.zeros((2, 3)), "scores": np.zeros((2, 4))}, "3 classes and 4 scores a row"),
            ("regress", {"outputs": np.zeros((2, 2))}, r"\[2, 2\], where \[rows\] or \[rows, 1\]"),
            ("regress", {"outputs": np.zeros(3)}, r"'outputs' of shape \[3\]"),
        ],
    )  # fmt: skip
    def test_other_shapes(self, method, outputs, message):
        """A model that returns another shape than it said is told apart."""
        with pytest.raises(InvalidArgumentError, match=message):
            method_outputs(method, outputs, 2, "m/1")


def test_unknown_method():
    """A method that no server has is refused with those that it has."""
    check_method("classify")
    with pytest.raises(InvalidArgumentError, match=r"must be one of predict, .* got 'rank'"):
        check_method("rank")

import pyarrow as pa
import pytest

from servable_core.errors import InvalidArgumentError
from servable_core.servables.signature import TensorSpec
from transforms.evaluation.prediction_choice import (
    PredictionChoice,
    check_same_outputs,
    choose_prediction,
    output_specs,
)


def _spec(name, *row_shape, dtype="float32"):
    return TensorSpec(name=name, dtype=dtype, shape=(None, *row_shape))


class TestOutputSpecs:
    def test_of_columns(self):
        """Columns are told as the signature that wrote them would."""
        rows = pa.record_batch(
            {
                "id": [1, 2],
                "p": pa.array([0.5, None], pa.float32()),
                "d": [0.5, 1.5],
                "scores": pa.array([[1, 2], [3, 4]], pa.list_(pa.float32(), 2)),
                "lists": pa.array([[1, 2, 3], [3, 4, 5]], pa.list_(pa.float32())),
                "large_lists": pa.array([[1, 2, 3], [3, 4, 5]], pa.large_list(pa.float32())),
                "ragged": pa.array([[1, 2, 3], [3]], pa.list_(pa.float64())),
                "classes": pa.array([["a"], ["b"]], pa.list_(pa.binary())),
            }
        )
        assert output_specs(rows, ["id"]) == (
            _spec("p"),
            _spec("d", dtype="float64"),
            _spec("scores", 2),
            _spec("lists", 3),
            _spec("large_lists", 3),
            _spec("ragged", None, dtype="float64"),
            _spec("classes", 1, dtype="string"),
        )


class TestChoosePrediction:
    @pytest.mark.parametrize(
        ("outputs", "expected"),
        [
            ([_spec("x")], PredictionChoice(prediction="x")),
            ([_spec("x", 1), _spec("y", dtype="int64")], PredictionChoice(prediction="x")),
            ([_spec("count", dtype="int64")], PredictionChoice(prediction="count")),
            (
                [_spec("logits", 3), _spec("probabilities", 3)],
                PredictionChoice(prediction="probabilities", num_scores=3),
            ),
            (
                [_spec("rank_score"), _spec("embedding", 64)],
                PredictionChoice(prediction="rank_score"),
            ),
            (
                [_spec("scores", 3), _spec("classes", 3, dtype="string")],
                PredictionChoice(prediction="scores", num_scores=3, classes="classes"),
            ),
            (
                [_spec("a_scores", 2), _spec("a_classes", 2, dtype="string")],
                PredictionChoice(prediction="a_scores", num_scores=2, classes="a_classes"),
            ),
            (
                [_spec("score", 1), _spec("classes", 1, dtype="string")],
                PredictionChoice(prediction="score"),
            ),
        ],
    )
    def test_what_is_meant(self, outputs, expected):
        """The only output, or the one whose name says so; class names go with their scores."""
        assert choose_prediction(outputs) == expected

    def test_wanted(self):
        """The one asked for, whatever its name."""
        outputs = [_spec("probability"), _spec("x", 4)]
        assert choose_prediction(outputs, "x").num_scores == 4

    @pytest.mark.parametrize(
        ("outputs", "wanted", "reason"),
        [
            ([_spec("x"), _spec("y")], None, r"not clear which output .* x: float32 \[None\], y"),
            ([_spec("a_score"), _spec("b_score")], None, "not clear which output"),
            ([_spec("x", dtype="string")], None, "not clear which output"),
            ([], None, "there are: none"),
            ([_spec("score")], "scor", "--prediction=scor .* did you mean 'score'"),
            ([_spec("c", dtype="string")], "c", "c: string .* where numbers are expected"),
            ([_spec("x", 2, 2)], None, r"\[rows, classes\] is expected"),
            ([_spec("x", None)], None, "does not tell how many classes"),
        ],
    )
    def test_not_clear(self, outputs, wanted, reason):
        """Anything else is one message."""
        with pytest.raises(InvalidArgumentError, match=reason):
            choose_prediction(outputs, wanted)

    def test_classes_of_the_configuration(self):
        """Where the signature leaves the number of scores open, the configuration tells it."""
        assert choose_prediction([_spec("x", None)], class_names=["a", "b", "c"]).num_scores == 3


class TestCheckSameOutputs:
    def test_alike(self):
        """[N] and [N, 1] are the same; names may tell an open number."""
        check_same_outputs(
            {"1": [_spec("p")], "2": [_spec("p", 1)]}, choose_prediction([_spec("p")])
        )
        choice = choose_prediction([_spec("p", 3)])
        check_same_outputs({"1": [_spec("p", 3)], "2": [_spec("p", None)]}, choice)

    @pytest.mark.parametrize(
        ("other", "reason"),
        [
            ([_spec("q", 3)], "version 2 has no output 'p'.*there are: q"),
            ([_spec("p", 4)], r"version 2 has p: float32 \[None, 4\], where 3 numbers a row"),
            ([_spec("p")], "versions differ in the output"),
        ],
    )
    def test_others(self, other, reason):
        """Another name or another shape is refused, and says of which version."""
        with pytest.raises(InvalidArgumentError, match=reason):
            check_same_outputs(
                {"1": [_spec("p", 3)], "2": other}, choose_prediction([_spec("p", 3)])
            )

import pyarrow as pa
import pytest

from servable_core.errors import InvalidArgumentError
from transforms.evaluation.class_names import class_names_of, common_class_names
from transforms.evaluation.prediction_choice import PredictionChoice


class TestClassNames:
    @pytest.mark.parametrize(
        ("rows", "expected"),
        [
            ([["no", "yes"], ["no", "yes"]], ("no", "yes")),
            ([["no", "yes"], None, ["no", "yes"]], ("no", "yes")),
            ([["b", "a"], ["a", "b"]], ("a", "b")),
            ([["10", "9"], ["9", "10"]], ("9", "10")),
            ([], ()),
        ],
    )
    def test_order(self, rows, expected):
        """As all rows give them, or sorted where rows differ, numbers as numbers."""
        column = pa.array(rows, pa.list_(pa.binary()))
        choice = PredictionChoice(prediction="scores", num_scores=2, classes="classes")
        assert class_names_of(pa.record_batch({"classes": column}), choice) == expected

    def test_none(self):
        """Scores without names have none."""
        assert class_names_of(pa.record_batch({"x": [1]}), PredictionChoice(prediction="x")) == ()


_SCORES = PredictionChoice(prediction="scores", num_scores=2, classes="classes")


def _named(*names):
    return pa.record_batch({"classes": [list(names)]})


class TestCommonClassNames:
    def test_of_the_baseline(self):
        """The baseline's order counts; the others may have another."""
        rows = {"1": _named("b", "a"), "2": _named("a", "b")}
        assert common_class_names(rows, _SCORES) == ("b", "a")

    def test_configured(self):
        """The order of the configuration counts where there is one, named by models or not."""
        assert common_class_names({"1": _named("b", "a")}, _SCORES, ["a", "b"]) == ("a", "b")
        unnamed = PredictionChoice(prediction="scores", num_scores=2)
        assert common_class_names({"1": _named()}, unnamed, ["a", "b"]) == ("a", "b")
        assert common_class_names({"1": _named()}, unnamed) == ()

    def test_other_classes(self):
        """Versions have the same classes."""
        rows = {"1": _named("a", "b"), "2": _named("b", "a"), "3": _named("a", "c")}
        with pytest.raises(
            InvalidArgumentError, match=r"versions 1 and 3 have different classes.*\['b', 'c'\]"
        ):
            common_class_names(rows, _SCORES)

    def test_some_of_the_classes(self):
        """Scores of the best classes alone are refused."""
        rows = pa.record_batch({"classes": [["a", "b"], ["b", "c"]]})
        with pytest.raises(InvalidArgumentError, match="of 2 classes a row, but rows name 3"):
            common_class_names({"1": rows}, _SCORES)

    @pytest.mark.parametrize(
        ("configured", "reason"),
        [
            (["a", "b", "c"], "are 3 names, where 'scores' has scores of 2 classes"),
            (["a", "c"], r"but version 1 has \['a', 'b'\]"),
        ],
    )
    def test_other_configuration(self, configured, reason):
        """The configuration has the classes of the models."""
        with pytest.raises(InvalidArgumentError, match=reason):
            common_class_names({"1": _named("a", "b")}, _SCORES, configured)

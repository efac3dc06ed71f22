"""The configuration file of an evaluation."""

import pytest

from servable_core.errors import InvalidArgumentError
from transforms.evaluation.evaluation_config import EvaluationConfig, read_evaluation_config
from transforms.metrics import Task


def test_a_file_says_what_the_fields_say(tmp_path):
    path = tmp_path / "eval.yaml"
    path.write_text(
        """
baseline: stable
candidates: [7, canary]
task: binary
label: clicked
thresholds: [0.25, 0.5]
slices:
- country,device
- {columns: [age], buckets: {age: [18, 30]}}
min_slice_rows: 10
gate:
  rules: [{metric: auc, test: superior}]
job:
  model_base_path: models/ranker
"""
    )
    config = read_evaluation_config(str(path))
    assert (config.baseline, config.candidates) == ("stable", ("7", "canary"))
    assert config.task is Task.BINARY
    assert config.thresholds == (0.25, 0.5)
    assert [each.columns for each in config.slices] == [("country", "device"), ("age",)]
    assert config.columns == ("clicked", "country", "device", "age")
    assert config.min_slice_rows == 10
    assert config.gate == {"rules": [{"metric": "auc", "test": "superior"}]}
    assert config.job == {"model_base_path": "models/ranker"}


def test_an_empty_file_says_nothing(tmp_path):
    path = tmp_path / "eval.yaml"
    path.write_text("")
    assert read_evaluation_config(str(path)) == EvaluationConfig()


def test_flags_that_were_given_win():
    config = EvaluationConfig(label="clicked", weight="importance")
    assert config.override({"label": "bought", "weight": None}) == EvaluationConfig(
        label="bought", weight="importance"
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("treshold: 0.5", r"'treshold' is unknown; did you mean 'thresholds'\?"),
        ("- a\n- b", "the file must be a mapping"),
        (
            "label: y\na: [b\nc: d",
            r"is no YAML: line 3, column 2: expected ',' or ']', but got ':'$",
        ),
        ("\x00", r"is no YAML: [^\n]+$"),
        ("label: [a, b]", "label must be a name"),
        ("label: true", "label must be a name"),
        ("task: ranking", "task must be one of binary, multiclass, regression"),
        ("thresholds: []", "thresholds is empty"),
        ("thresholds: [0.5, 1.5]", "thresholds must lie between 0 and 1, got 1.5"),
        ("thresholds: [.nan]", "thresholds must lie between 0 and 1, got nan"),
        ("thresholds: [0.5, 0.5]", "thresholds has a number twice"),
        ("thresholds: [0.5, 0.50000001]", "thresholds has a number twice"),
        ("quantiles: [0.9, 0.9]", "quantiles has a number twice"),
        ("top_k: [1, 1]", "top_k has a number twice"),
        ("thresholds: [half]", "thresholds must be a number, got 'half'"),
        ("confidence_level: 95", "confidence_level must lie between 0 and 1"),
        ("quantiles: [0, 0.5]", "quantiles must lie between 0 and 1"),
        ("top_k: [0]", "top_k must be 1 or more"),
        ("max_slices: 1.5", "max_slices must be a whole number"),
        ("min_slice_rows: 0", "min_slice_rows must be 1 or more"),
        ("slices: country", "slices must be a list"),
        ("gate: []", "gate must be a mapping"),
        ("baseline: 7\ncandidates: [7]", "version 7 is the baseline and a candidate"),
        ("candidates: [7, 7]", "version 7 is a candidate twice"),
    ],
)
def test_what_is_wrong_is_told_with_the_file(tmp_path, text, words):
    path = tmp_path / "eval.yaml"
    path.write_text(text)
    with pytest.raises(InvalidArgumentError, match=rf"--eval_config={path}.*{words}"):
        read_evaluation_config(str(path))


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(InvalidArgumentError, match="there is no such file"):
        read_evaluation_config(str(tmp_path / "none.yaml"))


def test_a_directory_is_no_file(tmp_path):
    with pytest.raises(InvalidArgumentError, match="is a directory; expected a YAML file"):
        read_evaluation_config(str(tmp_path))

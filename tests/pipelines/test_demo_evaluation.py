"""What the demo's evaluation asks and says; the whole of it runs with the documentation's tests."""

import shlex

import pytest

from pipelines import cli, demo_data, demo_evaluation
from pipelines.evaluate_command import evaluate_options
from pipelines.evaluation_outcome import EvaluationOutcome
from tests.pipelines.report import contents
from transforms.evaluation.evaluation_config import read_evaluation_config
from transforms.evaluation.gate_config import parse_gate
from transforms.metrics import Task


@pytest.fixture(name="options")
def _options(tmp_path):
    return demo_evaluation.evaluation_options(
        models=tmp_path / "models",
        held_out=tmp_path / "held_out",
        config=demo_evaluation.write_config(tmp_path / "gate.yaml"),
        output=tmp_path / "evaluation",
    )


def test_the_command_that_is_shown_asks_for_the_same(options):
    """Whoever copies the command gets what the demo ran."""
    words = shlex.split(options.command_line)
    assert words[:2] == ["run_pipeline.py", "evaluate"]
    parser = cli.evaluate_parser()
    known = vars(parser.parse_args(words[2:]))
    assert evaluate_options(parser, known, (), words[2:]) == options


def test_the_config_has_a_gate_that_looks_at_every_slice(tmp_path):
    config = read_evaluation_config(str(demo_evaluation.write_config(tmp_path / "gate.yaml")))
    rules = parse_gate(config.gate).rules
    assert any(each.is_all for rule in rules for each in rule.slices)
    assert (demo_evaluation.FAULTY_SLICE,) in [spec.columns for spec in config.slices]
    assert {column for spec in config.slices for column in spec.columns} <= set(demo_data.FEATURES)


def test_the_conclusion_names_the_slice_and_what_is_better_all_the_same():
    content = contents.binary_content(verdict=contents.failing_verdict())
    outcome = EvaluationOutcome(
        output="there", results=content.results, verdict=content.verdict, lines=()
    )
    lines = demo_evaluation.conclusion(outcome).splitlines()
    assert lines[0] == "   exit code 3"
    assert lines[1].startswith(
        "   version 3 fails on country=DE, although it is better on all rows"
    )


def test_a_version_that_is_worse_on_all_rows_is_not_called_better():
    labels, predictions, _ = contents.binary_rows(500, 2)
    content = contents.content_of(Task.BINARY, predictions[[1, 0, 0]], labels, {}, (1, 2, 3))
    outcome = EvaluationOutcome(
        output="there", results=content.results, verdict=contents.failing_verdict(), lines=()
    )
    assert "although" not in demo_evaluation.conclusion(outcome)

"""What the demo tells, without its training and its jobs."""

import re

import pyarrow as pa
import pytest

from pipelines import demo, demo_data, demo_models
from pipelines.evaluation_outcome import EvaluationOutcome
from transforms.evaluation.results import EvaluationResults

_OUTCOME = EvaluationOutcome(
    output="evaluation",
    results=EvaluationResults(
        model_name="visits", baseline=1, candidates=(2, 3), slices=(), metrics=()
    ),
    verdict=None,
    lines=("  report  evaluation/report.html",),
)


@pytest.fixture(name="quick_demo")
def _quick_demo(monkeypatch):
    """Does at once what takes long."""
    people = pa.table({demo_data.ID: [0, 1], demo_data.LABEL: [0, 1]})
    predictions = pa.table(
        {
            "model_version": [2, 2, 3, 3],
            demo_data.ID: [0, 1, 0, 1],
            demo_data.LABEL: [0, 1, 0, 1],
            demo_models.OUTPUT: [0.1, 0.2, 0.3, 0.4],
        }
    )
    monkeypatch.setattr(demo, "import_tensorflow", lambda: None)
    monkeypatch.setattr(demo_data, "load_table", lambda: people)
    monkeypatch.setattr(demo_data, "write_parquet", lambda *_: None)
    monkeypatch.setattr(demo_data, "write_tfrecord", lambda *_: None)
    monkeypatch.setattr(demo_models, "train_versions", lambda *_: [])
    monkeypatch.setattr(demo.precompute, "run", lambda _options: None)
    monkeypatch.setattr(demo.precompute, "summary", lambda _report: "done")
    monkeypatch.setattr(demo, "_read_sorted", lambda _output: predictions)
    monkeypatch.setattr(demo.evaluate, "run", lambda _options: _OUTCOME)


@pytest.mark.usefixtures("quick_demo")
def test_steps_are_numbered_in_order(tmp_path, capsys):
    """Each of the two jobs is a step of its own."""
    demo.run_demo(str(tmp_path))
    lines = capsys.readouterr().out.splitlines()
    steps = [match for line in lines if (match := re.match(r"(\d)\. (\S+)", line))]
    assert [int(step[1]) for step in steps] == [1, 2, 3, 4, 5, 6]
    assert [step[2] for step in steps[2:4]] == ["python", "python"]


@pytest.mark.usefixtures("quick_demo")
def test_it_shows_the_command_of_the_evaluation_the_report_and_the_exit_code(tmp_path, capsys):
    demo.run_demo(str(tmp_path))
    printed = capsys.readouterr().out
    assert "python run_pipeline.py evaluate --model_base_path=" in printed
    assert "  report  evaluation/report.html" in printed
    assert "   exit code 0" in printed

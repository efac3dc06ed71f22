import dataclasses
import re

from pipelines.report.terminal import evaluation_summary
from tests.pipelines.report import contents

_MAX_WIDTH = 100


def test_it_says_verdicts_metrics_and_the_worst_slices(binary):
    lines = evaluation_summary(binary)
    text = "\n".join(lines)
    assert lines[0] == "visits: 2, 3 against 1; binary, 6,000 rows, 18 slices, 1 too small"
    assert re.search(r"^FAIL +Version 3 must not be promoted", text, re.MULTILINE)
    assert re.search(r"^PASS +Version 2 may be promoted", text, re.MULTILINE)
    assert text.index("FAIL ") < text.index("PASS ")
    auc = re.search(
        r"^  auc +(0\.\d+) +(0\.\d+) +(\+0\.\d+)  \[\+0\.\d+, \+0\.\d+\] +better$",
        text,
        re.MULTILINE,
    )
    assert float(auc[2]) > float(auc[1])
    assert "log_loss by slice (less is better): worse on 3 of 18 slices, better on 15" in text
    assert re.search(r"^    country=DE, 1,0\d\d rows .* worse$", text, re.MULTILINE)


def test_lines_fit_a_terminal(binary):
    assert max(map(len, evaluation_summary(binary))) <= _MAX_WIDTH


def test_other_tasks_have_lines_too(other):
    assert len(evaluation_summary(other)) > 4


def test_rows_that_were_left_out_are_counted():
    labels, predictions, _ = contents.binary_rows(500, 2)
    labels[:7] = float("nan")
    predictions[1, 10:12] = float("nan")
    content = contents.content_of(contents.Task.BINARY, predictions, labels, {}, (1, 2))
    lines = evaluation_summary(content)
    start = lines.index("9 rows left out of all versions:")
    assert lines[start + 1 : start + 3] == [
        "  7 without a label",
        "  2 prediction is NaN or missing",
    ]


def test_names_from_the_data_cannot_steer_the_terminal(binary):
    results = dataclasses.replace(binary.results, model_name="a\x1b[31mb")
    shown = "".join(evaluation_summary(dataclasses.replace(binary, results=results)))
    assert "\x1b" not in shown


def test_of_several_thresholds_the_first_is_shown():
    labels, predictions, _ = contents.binary_rows(500, 2)
    content = contents.content_of(
        contents.Task.BINARY, predictions, labels, {}, (1, 2), thresholds=(0.7, 0.3, 0.5)
    )
    text = "\n".join(evaluation_summary(content))
    assert re.findall(r"accuracy \((\S+)\)", text) == ["threshold=0.7"]
    assert re.findall(r"churn \((\S+)\)", text) == ["threshold=0.7"]


def test_a_pass_tells_its_warnings():
    verdict = contents.failing_verdict()
    outcomes = [each for each in verdict.candidates[1].outcomes if not each.slice]
    passed = dataclasses.replace(verdict.candidates[0], outcomes=tuple(outcomes))
    verdict = dataclasses.replace(verdict, candidates=(passed,))
    text = "\n".join(
        evaluation_summary(contents.binary_content((1, 2), verdict=verdict, num_rows=500))
    )
    assert "PASS          Version 2 may be promoted in place of version 1" in text
    assert "Warning: psi is 0.18, at most 0.1 is allowed" in text


def test_the_first_version_of_a_model_is_told_alone():
    verdict = dataclasses.replace(
        contents.failing_verdict(),
        baseline=None,
        candidates=(dataclasses.replace(contents.failing_verdict().candidates[0], version=1),),
    )
    lines = evaluation_summary(dataclasses.replace(contents.single_content(), verdict=verdict))
    assert lines[0].startswith("visits: 1 alone; binary, 500 rows")
    assert "PASS          Version 1 may be promoted" in lines
    assert any(re.match(r"  auc +0\.\d+  \[", line) for line in lines)


def test_versions_that_are_equal_keep_their_digits():
    """A change of exactly 0 must not round an AUC of 0.75 to 1."""
    labels, predictions, _ = contents.binary_rows(500, 2)
    predictions[1] = predictions[0]
    content = contents.content_of(contents.Task.BINARY, predictions, labels, {}, (1, 2))
    text = "\n".join(evaluation_summary(content))
    auc = content.results.find("auc", 1).estimate.value
    shown = re.escape(f"{auc:.3f}")
    assert re.search(rf"auc +{shown} +{shown} +0\.000 +\[0\.000, 0\.000\]", text)

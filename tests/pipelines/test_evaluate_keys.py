"""Keys that are there to identify rows, and do not."""

import json

import numpy as np
import pyarrow as pa
import pytest

from tests.evaluation_jobs import evaluate, labelled_table, save_versions, write_data
from tests.transforms.evaluation.saved import save_version

NUM_ROWS = 1200
SAID = "with the example key of another row"


@pytest.fixture(scope="module", name="root")
def _root(tmp_path_factory):
    root = tmp_path_factory.mktemp("keys")
    save_versions(root / "ctr", (1, 2))
    write_data(root / "data", labelled_table(NUM_ROWS))
    return root


def _repeated(output):
    """Returns what `repeated_keys` is of each version; empty where it is not measured."""
    found = json.loads((output / "metrics.json").read_text())["metrics"]
    return {each["version"]: each["value"] for each in found if each["metric"] == "repeated_keys"}


def _evaluate(root, output, *flags):
    versions = ("--baseline=1", "--candidate=2")
    return evaluate(root / "ctr", f"{root}/data/*.parquet", output, *versions, *flags)


def test_rows_that_share_a_key_are_told(root, tmp_path, capsys):
    output = tmp_path / "out"
    assert _evaluate(root, output, "--example_key=user", "--unit_rows=300") == 0
    users = labelled_table(NUM_ROWS)["user"].value_counts().to_pylist()
    expected = sum(each["counts"] for each in users if each["counts"] > 1)
    assert 0 < expected < NUM_ROWS
    assert _repeated(output) == {1: expected, 2: expected}
    for text in (capsys.readouterr().out, (output / "report.md").read_text()):
        assert f"{expected:,} rows {SAID}" in text
    assert f"{expected:,} rows {SAID}" in (output / "report.html").read_text()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--example_key=id"], {1: 0, 2: 0}),
        (["--example_key=user", "--cluster_key=user"], {}),
        ([], {}),
    ],
    ids=["keys of their own", "clusters, as they should be", "files and rows"],
)
def test_nothing_is_told_of_keys_as_they_should_be(root, tmp_path, capsys, flags, expected):
    assert _evaluate(root, tmp_path / "out", *flags) == 0
    assert _repeated(tmp_path / "out") == expected
    assert SAID not in capsys.readouterr().out


def _save(directory, ids, of_second):
    """Saves two versions in two files each; rows of the second are in the order `of_second`."""
    scores = np.linspace(0.1, 0.9, len(ids))
    table = pa.table({"id": ids, "y": np.arange(len(ids)) % 2, "probability": scores})
    for version, rows in ((1, table), (2, table.take(of_second))):
        half = len(ids) // 2
        save_version(directory, version, [rows.slice(0, half), rows.slice(half)])
    return evaluate(
        None,
        None,
        directory / "out",
        f"--predictions={directory}",
        "--example_key=id",
        label="y",
    )


def test_saved_rows_in_one_order_go_together_whatever_their_keys(tmp_path, capsys):
    ids = [*range(100), *range(50)]
    assert _save(tmp_path, ids, np.arange(150)) == 0
    assert _repeated(tmp_path / "out") == {1: 100, 2: 100}
    assert f"100 rows {SAID}" in capsys.readouterr().out


def test_a_key_in_two_saved_files_is_refused(tmp_path, capsys):
    """Whose prediction belongs to which of both rows nobody can know."""
    assert _save(tmp_path, [*range(100), *range(50)], np.arange(150)[::-1]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "comes twice (row " in error
    assert "give another --example_key" in error

import os
import subprocess
import sys

import pytest
from apache_beam.io.filesystems import FileSystems

from servable_core.errors import InvalidArgumentError, NotFoundError
from transforms.local_glob import glob_expression, match_local

FILES = (
    "a.parquet",
    "b.parquet",
    "a.csv",
    "x-1.parquet",
    "x^1.parquet",
    "x]1.parquet",
    "day=1/a.parquet",
    "day=1/deep/er/a.parquet",
    "day=2/b.parquet",
    "day[3]/c.parquet",
    "new\nline.parquet",
    "back\\slash.parquet",
)


@pytest.fixture(name="root")
def _root(tmp_path):
    for name in FILES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path


@pytest.mark.parametrize(
    "pattern",
    [
        "*.parquet",
        "*",
        "**",
        "**/*.parquet",
        "**.parquet",
        "day=*/*.parquet",
        "day=*/**",
        "day=?/?.parquet",
        "[ab].parquet",
        "[!a].parquet",
        "[a-b].*",
        "x[]]1.parquet",
        "x[!]]1.parquet",
        "x[^-]1.parquet",
        "day[[]3]/*",
        "day[3/*",
        "day[]*/*",
        "[]",
        "[!]*",
        "x[!]1.parquet",
        "a.csv",
        "no_such_file",
        "no_such_directory/*",
        "a.csv/*",
        "day=1?a.parquet",
        "ne*e.parquet",
        "back*.parquet",
    ],
)
def test_as_beam_matches(root, pattern):
    """The same files with the same sizes and times."""
    found = match_local(f"{root}/{pattern}")
    expected = FileSystems.match([f"{root}/{pattern}"])[0].metadata_list
    assert [(each.path, each.size_bytes, each.mtime_secs) for each in found] == sorted(
        (each.path, each.size_in_bytes, each.last_updated_in_seconds) for each in expected
    )


def test_a_range_that_is_upside_down(root):
    """The regular expression that a glob becomes is nobody's business."""
    with pytest.raises(InvalidArgumentError, match=r"is no glob \(bad character range c-a\)"):
        match_local(f"{root}/[c-a]*")


def test_a_link_to_nothing(root):
    """Rows that cannot be found are not passed over in silence."""
    (root / "gone.parquet").symlink_to(root / "nowhere")
    with pytest.raises(NotFoundError, match=r"gone\.parquet is a link to nothing"):
        match_local(f"{root}/*.parquet")


def test_directories_that_cannot_match_are_not_walked(root, monkeypatch):
    """A shallow glob does not list all that lies below it."""
    seen = []
    walk = os.walk

    def watched(path):
        for each in walk(path):
            seen.append(each[0])
            yield each

    monkeypatch.setattr("transforms.local_glob.os.walk", watched)
    match_local(f"{root}/*.parquet")
    assert seen == [str(root)]


def test_a_glob_matches_whole_paths():
    """Neither a part of one, nor more."""
    assert glob_expression("/a/*.pq").fullmatch("/a/b.pq")
    assert not glob_expression("/a/*.pq").fullmatch("/a/b.pq.tmp")


_IN_A_NEW_PROCESS = """
import sys
from transforms.inputs import find_inputs
assert find_inputs([sys.argv[1]])
assert "apache_beam" not in sys.modules, "Beam was imported"
"""


def test_local_inputs_do_not_wait_for_beam(root):
    """Which takes a second to import."""
    arguments = [sys.executable, "-c", _IN_A_NEW_PROCESS, f"{root}/*.csv"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr

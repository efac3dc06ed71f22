import sys

import pytest

from pipelines.report.report_files import write_reports


def test_both_files_are_written(binary, page, tmp_path):
    written = write_reports(binary, str(tmp_path))
    assert (written.html, written.problem) == (str(tmp_path / "report.html"), "")
    assert (tmp_path / "report.html").read_text() == page
    assert (tmp_path / "report.md").read_text().startswith("## FAIL")


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_without_the_extra_the_rest_is_written_and_the_extra_named(
    binary, tmp_path, monkeypatch, package
):
    loaded = [name for name in sys.modules if name.partition(".")[0] == package]
    for name in loaded:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    written = write_reports(binary, str(tmp_path))
    assert written.html is None
    assert "pip install 'bulk-inference[report]'" in written.problem
    assert package in written.problem
    assert sorted(each.name for each in tmp_path.iterdir() if each.is_file()) == ["report.md"]

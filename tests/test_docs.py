"""The README and the docs are true: their commands run and their code blocks pass."""

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest

from pipelines import cli

_ROOT = Path(__file__).resolve().parent.parent
_PAGES = [_ROOT / "README.md", *sorted((_ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_DEMO = "$ make demo"


def _blocks(language):
    return [
        pytest.param(match[2], id=f"{page.name}-{index}")
        for page in _PAGES
        for index, match in enumerate(_BLOCK.finditer(page.read_text()))
        if match[1] == language
    ]


def _lines_without_figures(text):
    """Returns the lines with numbers and absolute paths masked: those differ from run to run."""
    masked = re.sub(r"(?<=\s)/\S+/(?=\w)", "", text)
    masked = re.sub(r"\d[\d.,]*", "#", masked)
    return [re.sub(r"\s+", " ", line).strip() for line in masked.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A directory in which the demo has run, and what it printed."""
    directory = tmp_path_factory.mktemp("docs")
    printed = io.StringIO()
    with contextlib.chdir(directory), contextlib.redirect_stdout(printed):
        assert cli.main(["demo"]) == 0
    return directory, printed.getvalue()


@pytest.mark.parametrize("block", _blocks("python"))
def test_python_blocks_run(block, demo, monkeypatch):
    """Every Python block runs in a directory where the demo has run."""
    monkeypatch.chdir(demo[0])
    exec(compile(block, "docs", "exec"), {})


@pytest.mark.parametrize("block", _blocks("console"))
def test_console_blocks_print_what_they_say(block, demo, monkeypatch, capsys):
    """Every command shown with its output prints that output, figures aside."""
    monkeypatch.chdir(demo[0])
    command, _, expected = block.replace("\\\n", "").partition("\n")
    if command == _DEMO:
        printed = demo[1]
    else:
        words = shlex.split(command.removeprefix("$ "))
        assert words[:2] == ["python", "run_pipeline.py"]
        assert cli.main(words[2:]) == 0
        printed = capsys.readouterr().out
    shown = [line for line in _lines_without_figures(expected) if line != "..."]
    assert [line for line in shown if line not in _lines_without_figures(printed)] == []
    assert shown


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in _PAGES])
def test_links_lead_somewhere(page):
    """Every relative link names a file of the repository."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def _flags(parser):
    actions = parser._actions
    return {flag for each in actions for flag in each.option_strings} - {"-h", "--help"}


def _documented_flags(page):
    text = (_ROOT / "docs" / page).read_text()
    return set(re.findall(r"`(--\w+)`", text.partition("## Flags")[2]))


def test_every_flag_is_documented():
    """Every flag of precompute stands in its page, and every flag there exists."""
    assert _documented_flags("precompute.md") == _flags(cli.precompute_parser())


def test_every_flag_of_evaluate_is_documented():
    """Flags of evaluate stand in its page or are precompute's, and every flag there exists."""
    flags, own = _flags(cli.evaluate_parser()), _documented_flags("evaluation.md")
    assert own <= flags
    assert flags - own <= _documented_flags("precompute.md")

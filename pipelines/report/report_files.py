"""The files of a report below an output directory."""

from dataclasses import dataclass

from pipelines.report.content import ReportContent
from pipelines.report.html import render_html
from pipelines.report.markdown import render_markdown
from transforms.storage import write_bytes

HTML_FILE = "report.html"
MARKDOWN_FILE = "report.md"
_EXTRA = {"jinja2", "markupsafe", "matplotlib"}


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportFiles:
    """What was written.

    Attributes:
        markdown: Path of the short form.
        html: Path of the page; None if it could not be made.
        problem: Why it could not, and what to do about it; empty if it could.
    """

    markdown: str
    html: str | None
    problem: str = ""


def write_reports(content: ReportContent, output: str) -> ReportFiles:
    """Writes `report.md`, and `report.html` if the extra `report` is installed, below `output`."""
    markdown = f"{output}/{MARKDOWN_FILE}"
    write_bytes(output, markdown, render_markdown(content).encode())
    try:
        page = render_html(content)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        return ReportFiles(markdown=markdown, html=None, problem=_how_to_install(error.name))
    html = f"{output}/{HTML_FILE}"
    write_bytes(output, html, page.encode())
    return ReportFiles(markdown=markdown, html=html)


def _how_to_install(package: str | None) -> str:
    return f"{HTML_FILE} was not written, as {package} is not installed: pip install 'bulk-inference[report]'; all else is there, and with a gate `run_pipeline.py gate` then writes the page too"

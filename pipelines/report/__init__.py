"""What an evaluation found, for people: a page, a summary for a pull request, lines for a terminal.

    EvaluationResults, Verdict, Curves, TopRows ─▶ ReportContent ─▶ report.html, report.md, lines

The page takes jinja2 and matplotlib, the extra `report`; the rest takes neither. Equal content
gives equal bytes. All text from the data is taken as text: slices and keys are nobody's HTML.
"""

from pipelines.report.content import ReportContent as ReportContent
from pipelines.report.evaluation_content import evaluation_content as evaluation_content
from pipelines.report.html import render_html as render_html
from pipelines.report.markdown import render_markdown as render_markdown
from pipelines.report.report_files import ReportFiles as ReportFiles
from pipelines.report.report_files import write_reports as write_reports
from pipelines.report.terminal import evaluation_summary as evaluation_summary

from pipelines.report.markdown import escaped, render_markdown
from tests.pipelines.report import contents


def _tables(text):
    """Returns the tables as lists of rows of cells."""
    tables, rows = [], []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            cells = line.replace("\\|", "").strip("|").split("|")
            rows.append([each.strip() for each in cells])
        elif rows:
            tables.append(rows)
            rows = []
    return tables


def test_the_verdict_comes_first(binary):
    text = render_markdown(binary)
    assert text.startswith("## FAIL: visits 2, 3 against 1\n")
    failed = text.index("**FAIL** Version 3 must not be promoted in place of version 1")
    assert failed < text.index("**PASS** Version 2 may be promoted") < text.index("### Version 2")


def test_every_row_of_a_table_has_all_its_cells(binary):
    tables = _tables(render_markdown(binary))
    assert len(tables) == 4  # rules of version 3; metrics of both; worst slices of version 3
    for rows in tables:
        assert len({len(row) for row in rows}) == 1, rows


def test_rules_that_were_not_kept_are_listed_the_gravest_first(binary):
    rules = _tables(render_markdown(binary))[0][2:]
    assert [row[0] for row in rules] == ["**FAIL**", "**WARN**"]
    assert rules[0][1:3] == ["log\\_loss", "country=DE"]


def test_the_worst_slices_are_listed(binary):
    slices = _tables(render_markdown(binary))[-1][2:]
    assert [row[0] for row in slices][:1] == ["country=DE"]
    assert {row[-1] for row in slices} == {"▼"}


def test_text_from_the_data_is_text(binary):
    text = render_markdown(binary)
    assert "<script>" not in text
    assert escaped("a|b`c`<d>[e](f)*g*\n@h") == r"a\|b\`c\`\<d\>\[e\]\(f\)\*g\*" + "�" + r"\@h"


def test_other_tasks_have_metrics_too(other):
    assert "### Version" in render_markdown(other) or not other.results.candidates


def test_without_a_gate_it_says_so():
    text = render_markdown(contents.regression_content())
    assert text.startswith("## Evaluation: visits 2 against 1\n")
    assert "No gate was configured" in text

import pytest

from pipelines.report.html import render_html
from tests.pipelines.report import contents


@pytest.fixture(scope="session")
def binary():
    """The content of a binary task that fails its gate."""
    return contents.binary_content(verdict=contents.failing_verdict())


@pytest.fixture(scope="session")
def page(binary):
    """Its page."""
    return render_html(binary)


@pytest.fixture(
    scope="session",
    params=[
        contents.multiclass_content,
        contents.regression_content,
        contents.unlabelled_content,
        contents.single_content,
    ],
    ids=["multiclass", "regression", "unlabelled", "single version"],
)
def other(request):
    """The content of other tasks."""
    return request.param()

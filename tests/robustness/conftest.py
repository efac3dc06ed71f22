import shutil
from pathlib import Path

import pytest

from tests.models import save_linear
from tests.robustness.jobs import Job, run_here, write_inputs


@pytest.fixture(scope="session", name="originals")
def _originals(tmp_path_factory) -> Path:
    """Returns a directory with a model and input files that no test changes."""
    root = tmp_path_factory.mktemp("originals")
    save_linear(root / "ranker", 1)
    write_inputs(root / "data")
    return root


@pytest.fixture(scope="session", name="other_model")
def _other_model(tmp_path_factory) -> Path:
    """Returns a version directory with other weights than the model's."""
    return Path(save_linear(tmp_path_factory.mktemp("other"), 2))


@pytest.fixture(name="job")
def _job(originals, tmp_path) -> Job:
    """Returns a job whose model, input and output a test may do anything to."""
    shutil.copytree(originals / "ranker", tmp_path / "ranker")
    shutil.copytree(originals / "data", tmp_path / "data")
    return Job(model=tmp_path / "ranker", data=tmp_path / "data", output=tmp_path / "output")


@pytest.fixture(scope="session", name="expected")
def _expected(originals, tmp_path_factory):
    """Returns the rows of an uninterrupted run."""
    output = tmp_path_factory.mktemp("reference") / "output"
    job = Job(model=originals / "ranker", data=originals / "data", output=output)
    assert run_here(job.args()) == 0
    return job.table()

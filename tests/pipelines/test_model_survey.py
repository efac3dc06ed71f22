"""What `inspect` learns of models from a core whose loaders read structures only."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from pipelines import model_survey
from pipelines.model_survey import PATIENCE_SECS, survey_models, survey_versions
from servable_core.config import ModelConfig, ServerConfig
from servable_core.lifecycle import ServableId
from servable_core.lifecycle.servable_state import ManagerState
from servable_core.runtime.file_system import FileInfo
from servable_core.server_core import ServerCore
from servable_core.sources import AllVersions, SpecificVersions
from servable_core.testing import FakeClock, FakeFileSystem
from tests.models import save_linear

_REAL_PATIENCE_SECS = 10.0


def _words(name, **fields):
    return ModelConfig(name=name, base_path=f"/{name}", **{"platform": "lookup_table", **fields})


def _survey(files, *models):
    return survey_models(ServerConfig(models=models), file_system=files)


def _states(survey):
    return {each.version: each.state for each in survey.status.versions}


def test_the_versions_that_a_server_would_load():
    """By the policy of each model; those it leaves alone are present only."""
    files = FakeFileSystem()
    for version in (1, 2, 10):
        files.write(f"/a/{version}/words.csv")
        files.write(f"/b/{version}/words.csv")
    a, b = _survey(files, _words("a"), _words("b", versions=SpecificVersions((1, 2))))
    assert _states(a) == {10: ManagerState.AVAILABLE}
    assert _states(b) == {1: ManagerState.AVAILABLE, 2: ManagerState.AVAILABLE}
    assert a.status.present == b.status.present == (1, 2, 10)
    assert (b.structures[2].path, b.structures[2].num_files) == ("/b/2", 1)
    assert b.structures[2].signatures is None


def test_each_model_for_itself():
    """A missing base path, an empty one, and an unknown platform do not concern the others."""
    files = FakeFileSystem()
    files.write("/good/1/words.csv")
    files.write("/odd/1/file")
    files.make_directory("/empty")
    models = _words("gone"), _words("empty"), _words("odd", platform="odd"), _words("good")
    gone, empty, odd, good = (each.status for each in _survey(files, *models))
    assert "base path /gone of servable 'gone' does not exist" in str(gone.error)
    assert "servable 'empty' has no version below /empty" in str(empty.error)
    assert "unknown platform 'odd'" in str(odd.error)
    assert [each.is_available for each in (gone, empty, odd, good)] == [False] * 3 + [True]


def test_labels_by_the_rules_of_the_core():
    """One of a version that is not served, or not there, is told why a server refuses it."""
    files = FakeFileSystem()
    for version in (1, 2):
        files.write(f"/a/{version}/words.csv")
    labels = {"stable": 2, "old": 1, "next": 7}
    (survey,) = _survey(files, _words("a", version_labels=labels))
    assert survey.status.version_labels == labels
    assert sorted(survey.label_errors) == ["next", "old"]
    assert "version 7 of model 'a', which is not available" in str(survey.label_errors["next"])


def test_broken_versions_beside_whole_ones(tmp_path):
    """A server does not try what has no graph; what it tries and cannot read is in error."""
    for version in (1, 2, 3):
        save_linear(tmp_path / "m", version)
    (tmp_path / "m/2/saved_model.pb").write_bytes(b"\xff")
    (tmp_path / "m/3/saved_model.pb").unlink()
    model = ModelConfig(
        name="m", base_path=str(tmp_path / "m"), platform="tensorflow", versions=AllVersions()
    )
    (survey,) = survey_models(ServerConfig(models=(model,)))
    three, two, one = survey.status.versions
    assert three.pending == "it has no saved_model.pb"
    assert (two.state, "is corrupt" in str(two.error)) == (ManagerState.END, True)
    assert one.state is ManagerState.AVAILABLE
    assert list(survey.structures) == [1]
    assert list(survey.structures[1].signatures) == ["serving_default"]


def test_pinned_versions_are_read_whatever_they_lack(tmp_path):
    """A job would run these and no others, so what is wrong with one is an error."""
    for version in (1, 2):
        save_linear(tmp_path / "m", version)
    (tmp_path / "m/2/saved_model.pb").unlink()
    survey = survey_versions("m", {v: f"{tmp_path}/m/{v}" for v in (1, 2)})
    assert list(survey.structures) == [1]
    assert "is not a complete SavedModel" in str(survey.status.versions[0].error)


def test_tensorflow_is_imported_for_its_own_models_only(tmp_path):
    """Lookup tables are shown without it, also beside a SavedModel that is missing."""
    (tmp_path / "words/1").mkdir(parents=True)
    (tmp_path / "words/1/words.csv").write_text("key,id\na,1\n")
    (tmp_path / "models.config").write_text(
        """model_config_list {
             config { name: "words" base_path: "words" model_platform: "lookup_table" }
             config { name: "gone" base_path: "gone" model_platform: "tensorflow" }
           }"""
    )
    code = f"""
import sys
from pipelines.cli import main
code = main(["inspect", "--model_config_file={tmp_path}/models.config"])
print("exit", code, sorted({{"tensorflow", "apache_beam"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert "    complete, 1 files" in done.stdout.splitlines()
    assert done.stdout.splitlines()[-1] == "exit 0 []"


class _HangingFileSystem(FakeFileSystem):
    """Does not answer for one directory until it is released; tells when another is read."""

    def __init__(self, hanging, watched):
        super().__init__()
        self._hanging = hanging
        self._watched = watched
        self.watched_read = threading.Event()
        self.released = threading.Event()

    def list_files(self, directory: str) -> list[FileInfo]:
        if directory == self._hanging:
            assert self.released.wait(_REAL_PATIENCE_SECS)
        if directory == self._watched:
            self.watched_read.set()
        return super().list_files(directory)


@pytest.fixture(name="survey_until_patience_ends")
def _survey_until_patience_ends(monkeypatch):
    """Surveys models; time passes when a version of them is available."""
    cores = []

    class _Core(ServerCore):
        def __init__(self, *args, **kwargs):
            cores.append(self)
            super().__init__(*args, **kwargs)

    def survey(files, available, *models):
        clock = FakeClock()
        with ThreadPoolExecutor() as pool:
            surveying = pool.submit(
                survey_models, ServerConfig(models=models), file_system=files, clock=clock
            )
            assert files.watched_read.wait(_REAL_PATIENCE_SECS)
            cores[0]._manager.wait_until_available([available])
            while wait([surveying], timeout=0.01).not_done:  # who waits when is the core's business
                clock.advance(PATIENCE_SECS)
            files.released.set()
            return surveying.result()

    monkeypatch.setattr(model_survey, "ServerCore", _Core)
    return survey


def test_a_base_path_that_hangs_concerns_its_own_model(survey_until_patience_ends):
    """Of it nothing is known after a while; the others are told of."""
    files = _HangingFileSystem("/a", "/b/1")
    files.write("/b/1/words.csv")
    a, b = survey_until_patience_ends(files, ServableId("b", 1), _words("a"), _words("b"))
    assert (a.status.versions, a.status.is_available) == ((), False)
    assert _states(b) == {1: ManagerState.AVAILABLE}


def test_a_version_that_hangs_concerns_itself_alone(survey_until_patience_ends):
    """It is still being read after a while; the others are told of."""
    files = _HangingFileSystem("/a/2", "/a/1")
    for version in (1, 2):
        files.write(f"/a/{version}/words.csv")
    model = _words("a", versions=AllVersions())
    (survey,) = survey_until_patience_ends(files, ServableId("a", 1), model)
    assert _states(survey) == {1: ManagerState.AVAILABLE, 2: ManagerState.LOADING}
    assert list(survey.structures) == [1]


_SURVEY_OF_A_STORE_THAT_HANGS = """
import threading
from pipelines import model_survey
from servable_core.config import ModelConfig, ServerConfig
from servable_core.sources import AllVersions
from servable_core.testing import FakeFileSystem

class HangingFileSystem(FakeFileSystem):
    def list_files(self, directory):
        if directory == "/a/2":
            threading.Event().wait()
        return super().list_files(directory)

files = HangingFileSystem()
for version in (1, 2):
    files.write(f"/a/{version}/words.csv")
model_survey.PATIENCE_SECS = 0.5
a = ModelConfig(name="a", base_path="/a", platform="lookup_table", versions=AllVersions())
(survey,) = model_survey.survey_models(ServerConfig(models=(a,)), file_system=files)
print(list(survey.structures))
"""


def test_the_process_ends_though_a_store_hangs():
    """Python waits at its end for the threads of all pools: none of them may hang."""
    done = subprocess.run(
        [sys.executable, "-c", _SURVEY_OF_A_STORE_THAT_HANGS],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert (done.stdout, done.stderr) == ("[1]\n", "")

"""200 kills at random moments of jobs of every kind, each followed by a resume that makes up for it.

Processes are killed with SIGKILL. The model and its input are such that rows do not depend on how they
were batched, so they are compared for equality.
"""

import random

import pytest

from tests.robustness.file_faults import FileFault
from tests.robustness.job_server import JobServer
from tests.robustness.jobs import identities
from tests.robustness.kill_matrix import (
    RECEIPT,
    JobFiles,
    Moment,
    all_kinds,
    random_moments,
)

_NUM_KILLS = 200
_NUM_QUICK_KILLS = 20
_KILLED = -9
_KINDS = all_kinds()
# Of the quick ones' jobs each has something of its own; together they have all formats and options.
_QUICK_KINDS = [_KINDS[index] for index in (3, 4, 14, 21, 31)]


@pytest.fixture(scope="module", name="server")
def _server(tmp_path_factory):
    with JobServer(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="module", name="root")
def _root(server, tmp_path_factory):
    """Returns a directory with models and inputs."""
    root = tmp_path_factory.mktemp("kills")
    server.call("tests.robustness.kill_matrix:write_originals", str(root))
    return root


@pytest.fixture(scope="module", name="references")
def _references(root, server):
    """Returns what gives the files of an uninterrupted run of a kind of job."""
    made = {}

    def reference(kind):
        if kind not in made:
            output = root / f"reference-{kind.name}"
            result = server.run(kind.args(root, output))
            assert result.code == 0, result.err
            made[kind] = JobFiles(output)
        return made[kind]

    return reference


def _assert_killed(result, job, before):
    """Checks that the process was killed, and that what was committed before it is as it was."""
    assert result.code == _KILLED, result
    assert identities([each for each in job.receipts if str(each) in before]) == before


def _assert_equal(job, kind, reference):
    """Checks that the job came out as if nobody had ever killed it."""
    assert job.is_complete
    assert job.temporary_files == []
    assert not (job.output / "_errors").exists()
    assert job.rows() == reference.rows()
    assert job.letters() == reference.letters()
    assert bool(job.letters()) == kind.has_bad_rows
    assert [each.name for each in job.receipts] == [each.name for each in reference.receipts]
    if kind.deterministic:
        assert job.part_bytes() == reference.part_bytes()
        assert job.letter_bytes() == reference.letter_bytes()


class _KilledJob:
    """A job that is killed, perhaps several times, and then gets done."""

    def __init__(self, server, kind, root, output):
        self._server, self._kind, self._root = server, kind, root
        self.files = JobFiles(output)

    def kill(self, moment):
        """Runs what is left of it until it is killed."""
        before = identities(self.files.receipts)
        result = self._run(
            fault=moment.fault,
            call_secs=moment.call_secs,
            kill_after_secs=moment.kill_after_secs,
        )
        _assert_killed(result, self.files, before)

    def finish(self):
        """Runs what is left of it."""
        result = self._run()
        assert result.code == 0, result.err

    def _run(self, **how):
        args = self._kind.args(self._root, self.files.output)
        if self.files.has_plan:
            args = ["precompute", f"--output={self.files.output}", "--if_exists=resume"]
        return self._server.run(args, **how)


@pytest.mark.parametrize(
    "index", range(len(_QUICK_KINDS)), ids=lambda index: _QUICK_KINDS[index].name
)
def test_quick_kills(server, references, root, tmp_path, index):
    """Twenty kills, spread over five jobs: all come out as if nothing had happened."""
    kind = _QUICK_KINDS[index]
    reference = references(kind)
    moments = random_moments(random.Random(index), reference, kind.has_bad_rows)
    for number in range(index, _NUM_QUICK_KILLS, len(_QUICK_KINDS)):
        job = _KilledJob(server, kind, root, tmp_path / f"output-{number}")
        job.kill(next(moments))
        job.finish()
        _assert_equal(job.files, kind, reference)


@pytest.mark.long
@pytest.mark.parametrize("number", range(_NUM_KILLS))
def test_kill(server, references, root, tmp_path, number):
    """A kill at a random moment, and a resume."""
    kind = _KINDS[number % len(_KINDS)]
    reference = references(kind)
    moments = random_moments(random.Random(1000 + number), reference, kind.has_bad_rows)
    job = _KilledJob(server, kind, root, tmp_path / "output")
    job.kill(next(moments))
    job.finish()
    _assert_equal(job.files, kind, reference)


@pytest.mark.long
@pytest.mark.parametrize("kind", _KINDS[::5], ids=lambda kind: kind.name)
def test_kill_after_kill(server, references, root, tmp_path, kind):
    """A job that is killed whenever it has written a receipt gets done, receipt by receipt."""
    job = _KilledJob(server, kind, root, tmp_path / "output")
    reference = references(kind)
    moment = Moment(kind="receipt", fault=FileFault(moment="committed", path=RECEIPT))
    while len(job.files.receipts) < len(reference.receipts):
        num_before = len(job.files.receipts)
        job.kill(moment)
        assert len(job.files.receipts) > num_before
    job.finish()
    _assert_equal(job.files, kind, reference)

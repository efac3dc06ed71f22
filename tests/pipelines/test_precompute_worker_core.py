import shutil
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pytest

from servable_core.batching import BatchingSession
from servable_core.batching.padding import PaddingOptions
from servable_core.errors import FailedPreconditionError
from servable_core.servables.saved_model.bundle import SavedModelBundle
from servable_core.server_core import ServerCore
from servable_core.sources.version_selection import AllVersions
from servable_core.testing import FakeClock
from tests.datasets import write_parquet
from tests.jobs import read_output, run_job, values
from tests.models import call_model, save_batch_facts, save_linear
from tests.pipelines import batch_functions
from transforms.execution import ExecutionOptions
from transforms.model_versions import resolve_models
from transforms.worker_core import WorkerCoreCache, WorkerCoreConfig, acquired_core
from transforms.worker_sessions import SessionKey, SessionRequest

NUM_ROWS = 400
MATRIX = np.random.default_rng(0).normal(size=(NUM_ROWS, 4)).astype(np.float32)
_PATIENCE_SECS = 20.0


@pytest.fixture(scope="module", name="base")
def _base(tmp_path_factory):
    base = tmp_path_factory.mktemp("models") / "ranker"
    for version in (1, 2):
        save_linear(base, version)
    return base


@pytest.fixture(scope="module", name="inputs")
def _inputs(tmp_path_factory):
    features = pa.FixedSizeListArray.from_arrays(pa.array(MATRIX.ravel()), 4)
    directory = tmp_path_factory.mktemp("inputs")
    write_parquet(pa.table({"id": range(NUM_ROWS), "features": features}), directory, [400], 50)
    return directory


@pytest.fixture(name="loads")
def _loads(monkeypatch):
    """The names of the models loaded, one for each load."""
    loaded = []
    load = SavedModelBundle.load.__func__

    def counting(cls, model, *args):
        loaded.append(model)
        return load(cls, model, *args)

    monkeypatch.setattr(SavedModelBundle, "load", classmethod(counting))
    return loaded


@pytest.fixture(name="handles")
def _handles(monkeypatch):
    """All handles that were handed out, with the thread that got each."""
    given = []
    get_servable_handle = ServerCore.get_servable_handle

    def recording(self, *args):
        handle = get_servable_handle(self, *args)
        given.append((threading.get_ident(), handle))
        return handle

    monkeypatch.setattr(ServerCore, "get_servable_handle", recording)
    return given


@pytest.fixture(name="meeting")
def _meeting(monkeypatch):
    meeting = batch_functions.Meeting()
    monkeypatch.setattr(batch_functions, "meeting", meeting)
    return meeting


@pytest.fixture(name="four_submissions")
def _four_submissions(monkeypatch):
    """Model calls wait for this event: four batches have been submitted, from any threads."""
    event, submitted = threading.Event(), []
    submit, predict = BatchingSession.submit, SavedModelBundle.predict

    def counting(self, *args, **options):
        future = submit(self, *args, **options)
        submitted.append(future)
        if len(submitted) == 4:
            event.set()
        return future

    def waiting(self, *args):
        event.wait(_PATIENCE_SECS)
        return predict(self, *args)

    monkeypatch.setattr(BatchingSession, "submit", counting)
    monkeypatch.setattr(SavedModelBundle, "predict", waiting)
    return event


def _config(base, **options):
    models = tuple(each.pinned for each in resolve_models(str(base), None, AllVersions()))
    return WorkerCoreConfig(models=models, execution=ExecutionOptions(**options))


class TestSessions:
    def test_each_counts_though_they_are_of_one_signature(self, base):
        """Two requests that differ in their batch size have a session each, and one key."""
        config = _config(base, num_batch_threads=3)  # no other test's
        model = config.models[0]
        with acquired_core(config) as core:
            for batch_size in (8, 16):
                request = SessionRequest(
                    model=model,
                    signature_name="serving_default",
                    outputs=("score",),
                    batch_size=batch_size,
                    padding=PaddingOptions(),
                    is_ragged=False,
                )
                core.session(request).run({"features": MATRIX[:10]})
            statistics = core.statistics()
        key = SessionKey(servable_id=model.servable_id, signature_name="serving_default")
        assert list(statistics) == [key]
        assert [each.num_rows for each in statistics[key]] == [10, 10]
        assert str(key) == "ranker/1:serving_default"


class TestJob:
    def test_units_on_two_threads_share_one_loaded_model(
        self, base, inputs, loads, meeting, tmp_path
    ):
        """Two units in flight at the same time, on two threads, and each version loaded once."""
        report = run_job(
            base,
            inputs,
            tmp_path / "out",
            key="id",
            model_version="all",
            unit_rows=200,
            postprocess="tests.pipelines.batch_functions:meet_other_unit",
        )
        assert report.manifest["units"] == 2
        assert len(meeting.threads) == 2
        assert sorted(loads) == ["ranker/1", "ranker/2"]
        output = read_output(tmp_path / "out", ["model_version", "id"])
        expected = [call_model(str(base / each), features=MATRIX)["score"][:, 0] for each in "12"]
        np.testing.assert_allclose(
            values(output["score"]), np.concatenate(expected), rtol=1e-5, atol=1e-6
        )

    def test_every_model_call_holds_a_handle_and_all_are_closed(
        self, base, inputs, handles, tmp_path, monkeypatch
    ):
        """The model runs only while its thread holds a handle from the manager."""
        calls = []
        predict = SavedModelBundle.predict

        def checking(self, *args):
            thread = threading.get_ident()
            calls.append(
                any(t == thread and not h.is_closed and h.servable is self for t, h in handles)
            )
            return predict(self, *args)

        monkeypatch.setattr(SavedModelBundle, "predict", checking)
        report = run_job(base, inputs, tmp_path / "out", key="id", unit_rows=100, max_batch_size=30)
        assert report.manifest["units"] == 4
        assert len(calls) >= NUM_ROWS / 30
        assert all(calls)
        assert all(handle.is_closed for _, handle in handles)

    @pytest.mark.parametrize("deterministic", [False, True])
    def test_rows_of_several_units_share_a_batch_unless_deterministic(
        self, deterministic, inputs, four_submissions, tmp_path
    ):
        """What waits for the model is merged across units; a deterministic job keeps them apart."""
        save_batch_facts(tmp_path / "facts", 1)
        run_job(
            tmp_path / "facts",
            inputs,
            tmp_path / "out",
            key="id",
            unit_rows=50,
            max_batch_size=200,
            num_batch_threads=1,
            deterministic=deterministic,
            beam_args=("--direct_num_workers=4",),
        )
        rows = values(read_output(tmp_path / "out")["batch_rows"])
        assert len(rows) == NUM_ROWS
        assert four_submissions.is_set()
        if deterministic:
            assert set(rows) == {50}
        else:
            assert 100 <= rows.max() <= 200

    def test_models_are_unloaded_when_the_job_ends(
        self, base, inputs, handles, tmp_path, monkeypatch
    ):
        """The end of a job unloads its models at once, not after a grace period."""
        cores = weakref.WeakSet()
        get_servable_handle = ServerCore.get_servable_handle

        def noting(self, *args):
            cores.add(self)
            return get_servable_handle(self, *args)

        monkeypatch.setattr(ServerCore, "get_servable_handle", noting)
        run_job(base, inputs, tmp_path / "out", key="id")
        assert handles
        assert [core.list_available_servable_ids() for core in cores] in ([], [[]])

    def test_the_end_of_a_job_leaves_the_cores_of_others_alone(self, base, inputs, tmp_path):
        """Who holds a core while a job in this process ends can go on using it."""
        config = _config(base)
        with acquired_core(config) as core:
            run_job(base, inputs, tmp_path / "out", key="id")
            session = core.session(
                SessionRequest(
                    model=config.models[0],
                    signature_name="serving_default",
                    outputs=("score",),
                    batch_size=1000,
                    padding=PaddingOptions(),
                    is_ragged=False,
                )
            )
            found = session.run({"features": MATRIX})["score"]
        expected = call_model(str(base / "1"), features=MATRIX)["score"]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)

    def test_two_jobs_at_the_same_time(self, base, inputs, tmp_path):
        """Jobs on two threads of one process do not disturb each other."""

        def job(name):
            return run_job(base, inputs, tmp_path / name, key="id", unit_rows=50, max_batch_size=20)

        with ThreadPoolExecutor(2) as executor:
            reports = list(executor.map(job, ["first", "second"]))
        expected = call_model(str(base / "2"), features=MATRIX)["score"][:, 0]
        for report in reports:
            output = read_output(report.output)
            assert output["id"].to_pylist() == list(range(NUM_ROWS))
            np.testing.assert_allclose(values(output["score"]), expected, rtol=1e-5, atol=1e-6)


class TestWorkerCoreCache:
    @pytest.fixture(name="clock")
    def _clock(self):
        return FakeClock()

    @pytest.fixture(name="cache")
    def _cache(self, clock):
        cache = WorkerCoreCache(clock, grace_secs=60)
        yield cache
        cache.close_all()

    def test_users_of_one_configuration_share_a_core(self, base, loads, cache):
        """Threads that ask at once wait for one core, and load each version once."""
        barrier = threading.Barrier(4)

        def use(_index):
            barrier.wait(_PATIENCE_SECS)
            with cache.acquired(_config(base)) as core:
                barrier.wait(_PATIENCE_SECS)
                return core

        with ThreadPoolExecutor(4) as executor:
            cores = list(executor.map(use, range(4)))
        assert len({id(core) for core in cores}) == 1
        assert sorted(loads) == ["ranker/1", "ranker/2"]

    def test_other_configurations_get_other_cores(self, base, cache):
        """Two configurations in one process have a core each."""
        with (
            cache.acquired(_config(base)) as first,
            cache.acquired(_config(base, max_batch_size=7)) as second,
        ):
            assert first is not second

    def test_a_core_is_kept_for_the_grace_period(self, base, cache, clock):
        """Runners tear DoFns down and set them up again: the core survives that, but not for ever."""
        config = _config(base)
        with cache.acquired(config) as first:
            pass
        clock.block_until_waiters(1)
        clock.advance(59)
        with cache.acquired(config) as second:
            assert second is first
            clock.advance(1000)
            assert _is_open(first, config)
        clock.block_until_waiters(1)
        clock.advance(59)
        assert _is_open(first, config)
        clock.block_until_waiters(1)
        clock.advance(1)
        _wait_until(lambda: not _is_open(first, config))
        with cache.acquired(config) as third:
            assert third is not first

    def test_many_uses_keep_one_thread(self, base, cache):
        """A core that is acquired again and again is watched by one thread."""
        with cache.acquired(_config(base)):
            before = set(threading.enumerate())
        for _ in range(20):
            with cache.acquired(_config(base)):
                pass
        assert set(threading.enumerate()) <= before

    def test_close_idle_closes_what_nobody_uses(self, base, cache):
        """The end of a job does not wait for the grace period, and spares cores in use."""
        idle, used = _config(base), _config(base, max_batch_size=7)
        with cache.acquired(idle) as idle_core:
            pass
        with cache.acquired(used) as used_core:
            cache.close_idle()
            assert not _is_open(idle_core, idle)
            assert _is_open(used_core, used)

    def test_a_failed_load_is_told_and_tried_again(self, base, cache, loads, tmp_path):
        """The error of loading reaches the user, and the next one gets a fresh attempt."""
        copy = tmp_path / "ranker"
        shutil.copytree(base, copy)
        config = _config(copy)
        stray = copy / "1/assets/stray.txt"
        stray.parent.mkdir(exist_ok=True)
        stray.write_text("not planned")
        with (
            pytest.raises(FailedPreconditionError, match="changed after the job was planned"),
            cache.acquired(config),
        ):
            pass
        stray.unlink()
        loads.clear()
        with cache.acquired(config):
            assert sorted(loads) == ["ranker/1", "ranker/2"]


def _is_open(core, config):
    try:
        core.signature(config.models[0], "serving_default")
    except Exception:  # noqa: BLE001 - whatever a closed core says
        return False
    return True


def _wait_until(predicate):
    event = threading.Event()
    for _ in range(200):
        if predicate():
            return
        event.wait(0.05)
    raise AssertionError("it did not become true")

import contextlib
import threading

import pytest

from servable_core.errors import AbortedError
from servable_core.runtime.clock import SystemClock
from servable_core.testing import FakeClock
from transforms.job_state import JobCounters, JobState, job_state, start_job_state

_PATIENCE_SECS = 10.0


class TestCounters:
    def test_add_up_and_are_taken_back(self):
        """Rows and bytes of an attempt that failed are subtracted again; units count when committed."""
        state = JobState(stops_siblings=True)
        state.add_rows(50)
        state.add_rows(30)
        state.add_rows(-30)
        state.add_bytes(500)
        state.add_bytes(300)
        state.add_bytes(-300)
        state.add_unit(size_bytes=1000, num_batches=3)
        assert state.counters() == JobCounters(rows=50, bytes=1500, units=1, batches=3)

    def test_from_many_threads(self):
        """No update is lost between threads."""
        state = JobState(stops_siblings=True)

        def work():
            for _ in range(2000):
                state.add_rows(1)
                state.add_unit(size_bytes=2, num_batches=3)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        expected = JobCounters(rows=16_000, bytes=32_000, units=16_000, batches=48_000)
        assert state.counters() == expected


class TestFailure:
    def test_the_first_message_wins_and_stops_the_siblings(self):
        """Later failures are consequences; the first one is what the user must hear of."""
        state = JobState(stops_siblings=True)
        state.abort.check()
        state.fail("unit 3 failed")
        state.fail("unit 4 failed")
        assert state.first_failure == "unit 3 failed"
        with pytest.raises(AbortedError, match="unit 3 failed"):
            state.abort.check()

    def test_where_the_runner_retries_nobody_is_stopped(self):
        """On a cluster another attempt may succeed, so siblings go on."""
        state = JobState(stops_siblings=False)
        state.fail("unit 3 failed")
        assert state.first_failure == "unit 3 failed"
        state.abort.check()


class TestWaitUntilIdle:
    def test_returns_at_once_when_nothing_runs(self):
        """An idle job is not waited for, whatever the clock says."""
        assert JobState(stops_siblings=True).wait_until_idle(0.0, FakeClock())

    def test_waits_for_the_last_unit(self):
        """Only when every unit has left, by success or error, is the job idle."""
        state = JobState(stops_siblings=True)
        entered, leave = threading.Barrier(3), [threading.Event(), threading.Event()]

        def unit(index):
            with contextlib.suppress(BrokenPipeError), state.active_unit():
                entered.wait(_PATIENCE_SECS)
                leave[index].wait(_PATIENCE_SECS)
                if index:
                    raise BrokenPipeError

        threads = [threading.Thread(target=unit, args=(index,)) for index in range(2)]
        for thread in threads:
            thread.start()
        entered.wait(_PATIENCE_SECS)
        assert not state.wait_until_idle(0.05, SystemClock())
        leave[0].set()
        assert not state.wait_until_idle(0.05, SystemClock())
        leave[1].set()
        assert state.wait_until_idle(_PATIENCE_SECS, SystemClock())
        for thread in threads:
            thread.join()

    def test_gives_up_after_the_timeout(self):
        """A unit that does not end is not waited for longer than allowed, by the given clock."""
        state = JobState(stops_siblings=True)
        clock = FakeClock()
        results = []
        with state.active_unit():
            waiter = threading.Thread(
                target=lambda: results.append(state.wait_until_idle(60.0, clock))
            )
            waiter.start()
            clock.block_until_waiters(1)
            clock.advance(59.0)
            assert waiter.is_alive()
            clock.advance(1.0)
            waiter.join(_PATIENCE_SECS)
        assert results == [False]


class TestPerOutput:
    def test_one_state_per_output_directory(self):
        """All DoFns of a job share a state; other jobs in the process have their own."""
        assert job_state("/out/a") is job_state("/out/a")
        assert job_state("/out/a") is not job_state("/out/b")

    def test_a_new_run_starts_afresh(self):
        """The abort of an earlier run does not stop the one that resumes it."""
        earlier = start_job_state("/out/c")
        earlier.fail("unit 1 failed")
        earlier.add_rows(10)
        later = start_job_state("/out/c")
        later.abort.check()
        assert later.first_failure is None
        assert later.counters() == JobCounters()
        assert job_state("/out/c") is later

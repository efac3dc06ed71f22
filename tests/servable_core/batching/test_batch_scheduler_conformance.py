"""Every scheduler keeps the promises of the protocol, and the suite finds one that does not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servable_core.batching.adaptive_shared_batch_scheduler import (
    AdaptiveSharedBatchScheduler,
    AdaptiveSharedBatchSchedulerOptions,
)
from servable_core.batching.basic_batch_scheduler import BasicBatchScheduler
from servable_core.batching.batch_queue import QueueOptions
from servable_core.batching.batch_scheduler_retrier import (
    BatchSchedulerRetrier,
    BatchSchedulerRetrierOptions,
)
from servable_core.batching.serial_device_batch_scheduler import (
    SerialDeviceBatchScheduler,
    SerialDeviceBatchSchedulerOptions,
)
from servable_core.batching.shared_batch_scheduler import (
    SharedBatchScheduler,
    SharedBatchSchedulerOptions,
)
from servable_core.batching.streaming_batch_scheduler import (
    StreamingBatchScheduler,
    StreamingBatchSchedulerOptions,
)
from servable_core.testing import FakeClock
from servable_core.testing.batch_recorder import BatchRecorder, split_rows
from servable_core.testing.batch_scheduler_conformance import (
    BatchSchedulerConformance,
    SchedulerUnderTest,
)
from servable_core.testing.batch_scheduler_script import BatchSchedulerScript


def with_one_queue(scheduler, options, recorder):
    """A shared scheduler, seen through a queue of its own."""
    queue = scheduler.add_queue(options, recorder, split_rows)
    return SchedulerUnderTest(scheduler=queue, step=scheduler.step, close=scheduler.close)


def make_shared(options, recorder, *, num_batch_threads, clock):
    threads = SharedBatchSchedulerOptions(num_batch_threads=num_batch_threads)
    return with_one_queue(SharedBatchScheduler(threads, clock=clock), options, recorder)


def make_basic(options, recorder, *, num_batch_threads, clock):
    threads = SharedBatchSchedulerOptions(num_batch_threads=num_batch_threads)
    basic = BasicBatchScheduler(threads, options, recorder, split_rows, clock=clock)
    return SchedulerUnderTest(scheduler=basic, step=basic.step, close=basic.close)


def make_adaptive(options, recorder, *, num_batch_threads, clock):
    adaptive = AdaptiveSharedBatchSchedulerOptions(
        num_batch_threads=num_batch_threads,
        initial_in_flight_batches_limit=1.0,
        batches_to_average_over=2,
        full_batch_scheduling_boost_secs=1.0,
        run_full_batches_beyond_limit=False,
    )
    scheduler = AdaptiveSharedBatchScheduler(adaptive, clock=clock)
    return with_one_queue(scheduler, options, recorder)


def make_express(options, recorder, *, num_batch_threads, clock):
    adaptive = AdaptiveSharedBatchSchedulerOptions(
        num_batch_threads=num_batch_threads, initial_in_flight_batches_limit=1.0
    )
    scheduler = AdaptiveSharedBatchScheduler(adaptive, clock=clock)
    return with_one_queue(scheduler, options, recorder)


def make_serial(options, recorder, *, num_batch_threads, clock):
    serial = SerialDeviceBatchSchedulerOptions(
        num_batch_threads=num_batch_threads,
        initial_in_flight_batches_limit=1,
        batches_to_average_over=2,
    )
    scheduler = SerialDeviceBatchScheduler(serial, lambda: 1, clock=clock)
    return with_one_queue(scheduler, options, recorder)


def make_streaming(options, recorder, *, num_batch_threads, clock):
    streaming_options = StreamingBatchSchedulerOptions(
        max_batch_size=options.max_batch_size,
        num_batch_threads=num_batch_threads,
        batch_timeout_secs=options.batch_timeout_secs,
    )
    streaming = StreamingBatchScheduler(streaming_options, recorder, clock=clock)
    return SchedulerUnderTest(scheduler=streaming, step=streaming.step, close=streaming.close)


def make_retrying(options, recorder, *, num_batch_threads, clock):
    basic = make_basic(options, recorder, num_batch_threads=num_batch_threads, clock=clock)
    once = BatchSchedulerRetrierOptions(max_time_secs=0.0)
    retrier = BatchSchedulerRetrier(basic.scheduler, once, clock=clock)
    return SchedulerUnderTest(scheduler=retrier, step=basic.step, close=basic.close)


class TestSharedBatchScheduler(BatchSchedulerConformance):
    make = staticmethod(make_shared)


class TestSharedBatchSchedulerWithoutSplitting(BatchSchedulerConformance):
    make = staticmethod(make_shared)
    splits = False


class TestBasicBatchScheduler(BatchSchedulerConformance):
    make = staticmethod(make_basic)


class TestAdaptiveSharedBatchScheduler(BatchSchedulerConformance):
    make = staticmethod(make_adaptive)


class TestAdaptiveSharedBatchSchedulerWithoutSplitting(BatchSchedulerConformance):
    make = staticmethod(make_adaptive)
    splits = False


class TestAdaptiveSharedBatchSchedulerBeyondItsLimit(BatchSchedulerConformance):
    make = staticmethod(make_express)


class TestSerialDeviceBatchScheduler(BatchSchedulerConformance):
    make = staticmethod(make_serial)


class TestStreamingBatchScheduler(BatchSchedulerConformance):
    make = staticmethod(make_streaming)
    splits = False


class TestBatchSchedulerRetrier(BatchSchedulerConformance):
    make = staticmethod(make_retrying)


OPTIONS = st.builds(
    QueueOptions,
    max_batch_size=st.integers(1, 6),
    batch_timeout_secs=st.sampled_from([0.0, 1.0, 5.0]),
    max_enqueued_batches=st.integers(1, 4),
    enable_large_batch_splitting=st.booleans(),
)
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), st.integers(0, 12)),
        st.tuples(st.just("submit"), st.integers(1, 3)),
        st.tuples(st.just("advance"), st.integers(1, 6)),
        st.tuples(st.sampled_from(["step", "step", "flush"]), st.just(0)),
        st.tuples(st.just("close"), st.just(0)),
    ),
    max_size=40,
)


@pytest.mark.parametrize(
    "make", [make_shared, make_basic, make_adaptive, make_serial, make_streaming, make_retrying]
)
@settings(max_examples=100)
@given(options=OPTIONS, actions=ACTIONS)
def test_any_sequence_of_actions_keeps_the_promises(make, options, actions):
    """Submissions, time, steps, flushes and a close in any order lose and double nothing."""
    if make is make_streaming:
        options = QueueOptions(
            max_batch_size=options.max_batch_size,
            batch_timeout_secs=options.batch_timeout_secs,
            enable_large_batch_splitting=False,
        )
    clock, recorder = FakeClock(), BatchRecorder()
    under_test = make(options, recorder, num_batch_threads=0, clock=clock)
    script = BatchSchedulerScript(under_test, options, recorder, clock)
    for action, argument in actions:
        script.do(action, argument)
    script.finish()


class Broken:
    """Wraps what processes batches, to do one thing wrong."""

    def __init__(self, process, fault):
        self._process = process
        self._fault = fault

    def __call__(self, batch):
        tasks = batch._tasks
        if self._fault == "lose":
            tasks.pop()
        elif self._fault == "double":
            tasks.append(tasks[0])
        else:
            tasks.reverse()
        self._process(batch)


@pytest.mark.parametrize("fault", ["lose", "double", "reverse"])
def test_suite_finds_lost_doubled_and_reordered_rows(fault):
    """A scheduler that processes the wrong rows does not pass."""

    class Conformance(BatchSchedulerConformance):
        def make(self, options, recorder, *, num_batch_threads, clock):
            return make_shared(
                options,
                Broken(recorder, fault),
                num_batch_threads=num_batch_threads,
                clock=clock,
            )

    with pytest.raises(AssertionError):
        Conformance().test_tasks_that_fit_share_a_batch_in_their_order()
    with pytest.raises(AssertionError):
        Conformance().test_capacity_is_what_fits()


def test_suite_finds_a_scheduler_that_never_looks_at_the_time():
    """Batches that wait for ever do not pass."""

    class Conformance(BatchSchedulerConformance):
        def make(self, options, recorder, *, num_batch_threads, clock):
            return make_shared(
                options, recorder, num_batch_threads=num_batch_threads, clock=FakeClock()
            )

    with pytest.raises(AssertionError):
        Conformance().test_batch_that_is_not_full_runs_after_its_timeout()

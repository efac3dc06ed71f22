import threading
from concurrent.futures import Future

import pyarrow as pa
import pytest

from servable_core.batching import (
    BatchingSession,
    QueueOptions,
    SharedBatchScheduler,
    SharedBatchSchedulerOptions,
)
from servable_core.errors import AbortedError, DeadlineExceededError
from servable_core.runtime.abort_token import AbortToken
from transforms.infer import InFlightWindow, infer_batches
from transforms.input_batch import InputBatch
from transforms.submission import Submission

_BATCH_BYTES = 8


def _batches(count):
    for index in range(count):
        yield InputBatch(columns=pa.record_batch({"x": pa.array([index], pa.int64())}))


def _number(batch):
    return batch.columns["x"][0].as_py()


def _submission(batch, future):
    return Submission([(batch, future)], [], model=("m", 1), keeps_bad_records=False)


class _Model:
    """Takes submissions and answers when told."""

    def __init__(self, *, answers_at_once=False):
        self.futures = []
        self._answers_at_once = answers_at_once

    def submit(self, batch):
        future = Future()
        self.futures.append(future)
        if self._answers_at_once:
            future.set_result({"y": _number(batch)})
        return [_submission(batch, future)]

    def answer(self, index):
        self.futures[index].set_result({"y": index})


def _infer(batches, submit, *, window=(64, 1 << 20), timeout_secs=10.0, check=lambda: None):
    bounds = InFlightWindow(max_batches=window[0], max_bytes=window[1])
    return infer_batches(batches, submit, window=bounds, timeout_secs=timeout_secs, check=check)


class TestOrder:
    def test_results_come_in_the_order_of_the_input(self):
        """Batch threads may finish in any order; the output keeps the input's."""
        model = _Model()

        def answer_backwards(batch):
            futures = model.submit(batch)
            if len(model.futures) == 5:
                for index in reversed(range(5)):
                    model.answer(index)
            return futures

        results = list(_infer(_batches(5), answer_backwards))
        assert [_number(each.batch) for each in results] == list(range(5))
        assert [each.outcomes[0].results[0][1]["y"] for each in results] == list(range(5))

    def test_every_model_answers_every_batch(self):
        """With several models the outputs stand in the order of the models."""
        first, second = _Model(answers_at_once=True), _Model(answers_at_once=True)
        results = list(
            _infer(_batches(3), lambda batch: first.submit(batch) + second.submit(batch))
        )
        assert [len(each.outcomes) for each in results] == [2, 2, 2]

    def test_no_batches(self):
        """Without input there is no output, and no model is called."""
        model = _Model()
        assert list(_infer(_batches(0), model.submit)) == []
        assert model.futures == []


class TestWindow:
    @pytest.mark.parametrize(
        ("window", "most_in_flight"),
        [((4, 1 << 20), 5), ((64, 3 * _BATCH_BYTES), 4), ((64, 1), 2)],
        ids=["batches", "bytes", "less than one batch"],
    )
    def test_submission_runs_ahead_no_further_than_allowed(self, window, most_in_flight):
        """Memory is bounded: the reader is not asked for more until the oldest batch is done."""
        model = _Model()
        num_done = most_seen = 0

        def submit(batch):
            nonlocal most_seen
            futures = model.submit(batch)
            in_flight = len(model.futures) - num_done
            most_seen = max(most_seen, in_flight)
            if in_flight == most_in_flight or len(model.futures) == 20:
                for index in range(num_done, len(model.futures)):
                    model.answer(index)
            return futures

        for each in _infer(_batches(20), submit, window=window):
            assert each.outcomes[0].results[0][1]["y"] == num_done
            num_done += 1
        assert num_done == 20
        assert most_seen == most_in_flight

    def test_none_hands_over_the_oldest_batch(self):
        """Where the reader waits for room, the oldest batch is waited for, and then given back."""
        model, given_back = _Model(), []
        one, two, three = _batches(3)

        def read():
            yield one
            yield two
            model.answer(0)
            yield None
            assert given_back == [0]
            model.answer(1)
            yield None
            assert given_back == [0, 1]
            yield three
            model.answer(2)

        results = infer_batches(
            read(),
            model.submit,
            window=InFlightWindow(max_batches=9, max_bytes=1 << 20),
            timeout_secs=10.0,
            check=lambda: None,
            give_back=lambda batch: given_back.append(_number(batch)),
        )
        assert [_number(each.batch) for each in results] == [0, 1, 2]
        assert given_back == [0, 1, 2]

    def test_finished_batches_are_handed_over_without_waiting_for_a_full_window(self):
        """A fast model's results are not held back."""
        model = _Model(answers_at_once=True)
        results = _infer(_batches(10), model.submit)
        next(results)
        assert len(model.futures) == 1
        results.close()


class TestTimeout:
    def test_a_hanging_call_fails_with_the_stacks_of_all_threads(self):
        """The error says how long was allowed and what every thread was doing."""
        release = threading.Event()
        thread = threading.Thread(target=release.wait, name="the_one_that_hangs", daemon=True)
        thread.start()
        model = _Model()
        with pytest.raises(DeadlineExceededError) as caught:
            list(_infer(_batches(2), model.submit, timeout_secs=0.05))
        release.set()
        thread.join()
        message = str(caught.value)
        assert "--batch_timeout_secs=0.05" in message
        assert "the_one_that_hangs" in message
        assert "test_infer_batches.py" in message

    def test_no_room_in_the_queue_of_a_hanging_model_is_a_timeout_too(self):
        """Whoever waits to submit behind a call that hangs gets the same error, not a deadlock."""
        release = threading.Event()

        def hang(inputs):
            release.wait(30)
            return inputs

        options = SharedBatchSchedulerOptions(num_batch_threads=1)
        queue = QueueOptions(max_batch_size=1, max_enqueued_batches=1)
        with (
            SharedBatchScheduler(options) as scheduler,
            BatchingSession(hang, scheduler, queue, name="hanging") as session,
        ):

            def submit(batch):
                x = batch.columns["x"].to_numpy()
                return [session.submit({"x": x}, timeout_secs=0.05)]

            with pytest.raises(DeadlineExceededError, match=r"--batch_timeout_secs=0\.05[^$]*hang"):
                list(_infer(_batches(9), submit, timeout_secs=0.05))
            release.set()


class TestFailure:
    def test_the_models_error_is_raised_and_the_rest_is_cancelled(self):
        """What is still queued behind a failed batch does not run for nothing."""
        model = _Model()

        def submit(batch):
            futures = model.submit(batch)
            if len(model.futures) == 4:
                model.futures[0].set_exception(ValueError("bad row"))
            return futures

        results = _infer(_batches(4), submit, window=(3, 1 << 20))
        with pytest.raises(ValueError, match="bad row"):
            list(results)
        assert [future.cancelled() for future in model.futures] == [False, True, True, True]

    def test_an_error_of_the_reader_cancels_what_was_submitted(self):
        """When the input breaks off, the calls in flight are dropped."""
        model = _Model()

        def broken():
            yield from _batches(2)
            raise OSError("cable cut")

        with pytest.raises(OSError, match="cable cut"):
            list(_infer(broken(), model.submit))
        assert all(future.cancelled() for future in model.futures)

    def test_a_consumer_that_leaves_cancels_what_was_submitted(self):
        """Closing the generator is enough."""
        model = _Model()

        def submit(batch):
            futures = model.submit(batch)
            if len(model.futures) == 3:
                model.answer(0)
            return futures

        results = _infer(_batches(9), submit)
        next(results)
        results.close()
        assert [future.cancelled() for future in model.futures] == [False, True, True]

    def test_the_abort_token_is_checked_at_every_batch(self):
        """A job that is stopped submits nothing more and hands out nothing more."""
        abort = AbortToken()
        model = _Model(answers_at_once=True)
        results = _infer(_batches(100), model.submit, check=abort.check)
        next(results)
        next(results)
        abort.set("SIGINT")
        with pytest.raises(AbortedError, match="SIGINT"):
            next(results)
        assert len(model.futures) == 2

    def test_the_abort_token_is_checked_while_the_last_results_come(self):
        """After the reader is through, stopping still works batch by batch."""
        abort = AbortToken()
        model = _Model()

        def submit(batch):
            futures = model.submit(batch)
            if len(model.futures) == 3:
                abort.set("a sibling failed")
            return futures

        with pytest.raises(AbortedError, match="a sibling failed"):
            list(_infer(_batches(3), submit, check=abort.check))
        assert all(future.cancelled() for future in model.futures)

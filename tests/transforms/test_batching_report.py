import json
import threading

import pytest

from servable_core.batching import BatchingStatistics
from servable_core.batching.auto_batch_size import BatchSizeReport
from servable_core.batching.batching_statistics import ShapeStatistics
from servable_core.lifecycle import ServableId
from transforms.batching_report import UnreportedCounters, counters, merge_workers, to_document
from transforms.worker_sessions import SessionKey


def _key(name):
    version, signature_name = name.split(":")
    return SessionKey(servable_id=ServableId("m", int(version[2:])), signature_name=signature_name)


def _documents(name, *of_one):
    # As receipts have it: through JSON.
    return json.loads(json.dumps(to_document({_key(name): of_one})))


def _document(name="m/1:s", **statistics):
    return _documents(name, BatchingStatistics(**statistics))


class TestToDocument:
    def test_several_sessions_of_one_signature_add_up(self):
        """They were asked for other outputs, say; none of them is left out."""
        run = ShapeStatistics(num_runs=1, num_rows=8, run_secs=0.5)
        found = BatchSizeReport(size=64, is_frozen=True, curve={64: 10.4})
        few = BatchingStatistics(
            num_batches=1, num_rows=8, max_queue_secs=2.0, ceiling=16, shapes={(8, 0): run}
        )
        many = BatchingStatistics(
            num_batches=2, num_rows=80, max_queue_secs=1.0, batch_size=found, shapes={(8, 0): run}
        )
        for of_one in ([few, many], [many, few]):
            document = _documents("m/1:s", *of_one)["m/1:s"]
            assert (document["num_batches"], document["num_rows"]) == (3, 88)
            assert (document["max_queue_secs"], document["ceiling"]) == (2.0, 16)
            assert document["batch_size"]["size"] == 64
            merged = merge_workers([("a", {"m/1:s": document})])["m/1:s"]
            assert [(each["rows"], each["num_runs"]) for each in merged["shapes"]] == [(8, 2)]

    def test_signatures_stay_apart(self):
        """Of one version or of several."""
        statistics = {_key(name): [BatchingStatistics()] for name in ("m/1:a", "m/1:b", "m/2:a")}
        assert list(to_document(statistics)) == ["m/1:a", "m/1:b", "m/2:a"]


class TestMergeWorkers:
    def test_last_receipt_of_each_worker_counts(self):
        """Receipts have totals of their worker: the highest counts, in whatever order they come."""
        merged = merge_workers(
            [
                ("a", _document(num_batches=2, num_rows=20)),
                ("b", _document(num_batches=1, num_rows=5)),
                ("a", _document(num_batches=3, num_rows=30)),
                ("a", _document(num_batches=1, num_rows=10)),
            ]
        )["m/1:s"]
        assert (merged["num_batches"], merged["num_rows"]) == (4, 35)
        assert merged["mean_batch_size"] == 35 / 4

    def test_sessions_stay_apart(self):
        """Each model has figures of its own, also if one worker has run only one of them."""
        both = _document("m/1:s", num_rows=1) | _document("m/2:s", num_rows=2)
        merged = merge_workers([("a", both), ("b", _document("m/2:s", num_rows=4))])
        assert {name: each["num_rows"] for name, each in merged.items()} == {
            "m/1:s": 1,
            "m/2:s": 6,
        }

    def test_figures_that_are_no_sums(self):
        """The longest wait is the longest of all, the ceiling the lowest."""
        merged = merge_workers(
            [
                ("a", _document(max_queue_secs=0.5, ceiling=None)),
                ("b", _document(max_queue_secs=2.0, ceiling=64)),
                ("c", _document(max_queue_secs=1.0, ceiling=128)),
            ]
        )["m/1:s"]
        assert (merged["max_queue_secs"], merged["ceiling"]) == (2.0, 64)

    def test_ratios(self):
        """Fill and waste are those of all workers together."""
        merged = merge_workers(
            [
                ("a", _document(num_rows=10, num_slots=10, num_cells=0, num_padding_cells=0)),
                ("b", _document(num_rows=10, num_slots=30, num_cells=80, num_padding_cells=20)),
            ]
        )["m/1:s"]
        assert (merged["fill"], merged["padding_waste"]) == (0.5, 0.25)

    def test_nothing_has_run(self):
        """Without batches the ratios are zero, not an error; without receipts there is nothing."""
        merged = merge_workers([("a", _document())])["m/1:s"]
        assert [merged[name] for name in ("mean_batch_size", "fill", "padding_waste")] == [0, 0, 0]
        assert merge_workers([]) == {}

    def test_shapes(self):
        """Runs of the same shape add up; the most frequent come first, and not too many."""
        run = ShapeStatistics(num_runs=1, num_rows=8, run_secs=0.5)
        many = {(rows, 0): run for rows in range(1, 101)}
        merged = merge_workers(
            [
                ("a", _document(shapes={(8, 16): run, (8, 20): run})),
                ("b", _document(shapes={(8, 20): run})),
            ]
        )["m/1:s"]
        assert merged["shapes"] == [
            {"rows": 8, "length": 20, "num_runs": 2, "num_rows": 16, "run_secs": 1.0},
            {"rows": 8, "length": 16, "num_runs": 1, "num_rows": 8, "run_secs": 0.5},
        ]
        merged = merge_workers([("a", _document(shapes=many))])["m/1:s"]
        assert merged["num_shapes"] == 100
        assert len(merged["shapes"]) == 64

    def test_batch_sizes_found(self):
        """What each worker has found is listed; a size that was given is not."""
        found = BatchSizeReport(size=64, is_frozen=True, curve={64: 10.4, 32: 9.6})
        merged = merge_workers([("a", _document(batch_size=found)), ("b", _document())])["m/1:s"]
        assert merged["batch_size"] == [
            {"size": 64, "is_frozen": True, "curve": [[32, 10], [64, 10]]}
        ]


class TestCounters:
    def test_sum_over_sessions(self):
        """The counters of a process are those of all its sessions."""
        found = counters([BatchingStatistics(num_splits=2), BatchingStatistics(num_splits=3)])
        assert found["splits"] == 5
        assert found["extra_runs"] == 0

    def test_increments_are_told_once(self):
        """Each call tells what is new; what has not grown is left out."""
        totals = {"a": 2, "b": 0}
        unreported = UnreportedCounters(lambda: dict(totals))
        assert unreported.take() == {"a": 2}
        assert unreported.take() == {}
        totals |= {"a": 3, "b": 4}
        assert unreported.take() == {"a": 1, "b": 4}

    @pytest.mark.parametrize("num_threads", [4])
    def test_threads_share_the_increments(self, num_threads):
        """However many threads ask, the increments add up to the total."""
        total, lock = {"a": 0}, threading.Lock()

        def grow():
            with lock:
                total["a"] += 1
                return dict(total)

        unreported = UnreportedCounters(grow)
        told = []
        threads = [
            threading.Thread(target=lambda: told.extend(unreported.take() for _ in range(100)))
            for _ in range(num_threads)
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert sum(each["a"] for each in told) == total["a"] == 100 * num_threads

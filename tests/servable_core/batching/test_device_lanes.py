from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servable_core.batching.device_lanes import DeviceLanes, SharedDeviceLanes
from servable_core.errors import FailedPreconditionError, InvalidArgumentError


class TestDeviceLanes:
    def test_least_loaded_first(self):
        """A call goes where the fewest are in flight, whoever's turn it is."""
        lanes = DeviceLanes(3)
        assert [lanes.acquire() for _ in range(6)] == [0, 1, 2, 0, 1, 2]
        lanes.release(1)
        assert lanes.in_flight == (2, 1, 2)
        assert lanes.acquire() == 1

    def test_equals_take_turns(self):
        """Calls that never overlap still use all devices."""
        lanes = DeviceLanes(3)
        used = []
        for _ in range(5):
            used.append(lanes.acquire())
            lanes.release(used[-1])
        assert used == [0, 1, 2, 0, 1]

    def test_turns_go_on_behind_the_last_one(self):
        """Among equals it is the next one's turn after the lane that was taken last."""
        lanes = DeviceLanes(3)
        for _ in range(3):
            lanes.acquire()
        lanes.release(0)
        lanes.release(2)
        assert [lanes.acquire(), lanes.acquire()] == [0, 2]

    @given(st.integers(1, 5), st.lists(st.one_of(st.none(), st.integers(0, 100)), max_size=60))
    def test_balance(self, num_lanes, steps):
        """The lane taken never had more in flight than another; what is released is free."""
        lanes, held = DeviceLanes(num_lanes), []
        for step in steps:
            if step is None or not held:
                before = lanes.in_flight
                held.append(lanes.acquire())
                assert before[held[-1]] == min(before)
            else:
                lanes.release(held.pop(step % len(held)))
            assert lanes.in_flight == tuple(held.count(lane) for lane in range(num_lanes))

    def test_released_twice(self):
        """A lane cannot be given back more often than it was taken."""
        lanes = DeviceLanes(2)
        lanes.release(lanes.acquire())
        with pytest.raises(FailedPreconditionError, match="no call is in flight on lane 0"):
            lanes.release(0)

    def test_no_lane(self):
        with pytest.raises(InvalidArgumentError, match="num_lanes must be 1 or more, got 0"):
            DeviceLanes(0)


class TestSharedDeviceLanes:
    def test_given_back_after_an_error(self):
        """A call that fails frees its lane."""
        lanes = SharedDeviceLanes(2)
        with suppress(ZeroDivisionError), lanes.acquired() as lane:
            assert lanes.in_flight == (1, 0)
            lane / 0
        assert lanes.in_flight == (0, 0)

    def test_many_threads(self):
        """Each lane has as many calls as its share, and none is left at the end."""
        lanes = SharedDeviceLanes(3)

        def call(_):
            with lanes.acquired() as lane:
                assert 1 <= lanes.in_flight[lane] <= 3  # 8 threads, fairly shared
                return lane

        with ThreadPoolExecutor(8) as threads:
            used = list(threads.map(call, range(600)))
        assert set(used) == {0, 1, 2}
        assert lanes.in_flight == (0, 0, 0)

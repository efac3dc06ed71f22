"""A core that does not poll by itself: a version that has yet to come to rest is waited for."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from servable_core.errors import DeadlineExceededError
from servable_core.testing import FakeClock
from tests.servable_core.server_core.fakes import PATIENCE_SECS, FakeStore, available, model

SETTLING = {"poll_interval_secs": None, "settle_secs": 5.0}


def _write_fresh(store: FakeStore, clock: FakeClock, version: str) -> None:
    store.files.write(f"/{version}/model", mtime_secs=clock.wall_time())


@pytest.mark.parametrize("requires_all_models", [True, False])
def test_the_constructor_polls_until_a_fresh_version_is_at_rest(requires_all_models: bool) -> None:
    """Once more for each change of its files, and no sooner than it may be at rest."""
    store, clock = FakeStore(), FakeClock()
    _write_fresh(store, clock, "a/1")

    with ThreadPoolExecutor() as pool:
        starting = pool.submit(
            store.core,
            model("a"),
            clock=clock,
            requires_all_models=requires_all_models,
            **SETTLING,
        )
        clock.block_until_waiters(1)
        _write_fresh(store, clock, "a/1/more")
        clock.advance(5)
        clock.block_until_waiters(1)
        assert not starting.done()
        clock.advance(5)
        with starting.result(PATIENCE_SECS) as core:
            assert available(core) == ["a/1"]
            assert store.files.num_listings == 3


def test_the_constructor_gives_up_when_its_time_is_over() -> None:
    """Which may be before the version can be at rest."""
    store, clock = FakeStore(), FakeClock()
    _write_fresh(store, clock, "a/1")

    with ThreadPoolExecutor() as pool:
        starting = pool.submit(
            store.core, model("a"), clock=clock, load_timeout_secs=3.0, **SETTLING
        )
        clock.block_until_waiters(1)
        clock.advance(3)
        with pytest.raises(DeadlineExceededError, match="it is new or has just changed"):
            starting.result(PATIENCE_SECS)


def test_a_model_that_is_added_is_polled_until_it_is_at_rest() -> None:
    """As at the start."""
    store, clock = FakeStore("a/1"), FakeClock()
    with store.core(model("a"), clock=clock, **SETTLING) as core, ThreadPoolExecutor() as pool:
        _write_fresh(store, clock, "b/1")
        adding = pool.submit(core.add_model, model("b"))
        clock.block_until_waiters(1)
        assert not adding.done()
        clock.advance(5)
        adding.result(PATIENCE_SECS)
        assert available(core) == ["a/1", "b/1"]

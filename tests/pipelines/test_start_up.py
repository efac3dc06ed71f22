import threading
from contextlib import contextmanager

import pytest

from pipelines.start_up import loaded_beside_beam

TIMEOUT_SECS = 60


@contextmanager
def _models(events, before=lambda: None):
    before()
    events.append("loaded")
    try:
        yield
    finally:
        events.append("released")


def test_models_load_while_beam_is_imported():
    """Each begins before the other has ended; the body waits for both."""
    events = []
    importing, loading = threading.Event(), threading.Event()

    def load():
        loading.set()
        assert importing.wait(TIMEOUT_SECS), "Beam waits for the models"

    def import_beam():
        importing.set()
        assert loading.wait(TIMEOUT_SECS), "the models wait for Beam"
        events.append("beam")

    with loaded_beside_beam(_models(events, load), import_beam=import_beam):
        assert sorted(events) == ["beam", "loaded"]
    assert events[2:] == ["released"]


def test_beam_is_imported_by_the_caller():
    """On the main thread, where a signal interrupts it."""
    threads = []
    with loaded_beside_beam(
        _models([]), import_beam=lambda: threads.append(threading.current_thread())
    ):
        pass
    assert threads == [threading.current_thread()]


def _fail():
    raise ValueError("no memory")


def test_models_that_do_not_load_are_told_before_the_body():
    """Nothing is written by then."""
    body = []
    with (
        pytest.raises(ValueError, match="no memory"),
        loaded_beside_beam(_models([], _fail), import_beam=lambda: None),
    ):
        body.append("ran")
    assert body == []


def test_models_are_released_if_beam_is_not_there():
    """Also if they are loaded only after the import has failed."""
    events = []
    failed = threading.Event()

    def import_beam():
        failed.set()
        raise ImportError("no Beam")

    models = _models(events, lambda: failed.wait(TIMEOUT_SECS))
    with pytest.raises(ImportError), loaded_beside_beam(models, import_beam=import_beam):
        pass
    assert events == ["loaded", "released"]

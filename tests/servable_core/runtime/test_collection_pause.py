import gc

import pytest

from servable_core.runtime.collection_pause import collection_paused


def test_collects_again_afterwards():
    """Collection is off during the body only, also when the body fails."""
    with pytest.raises(KeyError), collection_paused():
        raise KeyError(gc.isenabled())
    assert gc.isenabled()


def test_nests():
    """The outermost pause ends it."""
    with collection_paused():
        assert not gc.isenabled()
        with collection_paused():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_what_was_made_meanwhile_is_not_looked_at_again():
    """Objects of the body become permanent: later collections skip them."""
    before = gc.get_freeze_count()
    with collection_paused():
        kept = [[] for _ in range(1000)]
    assert gc.get_freeze_count() >= before + len(kept)

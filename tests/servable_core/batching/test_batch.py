"""Batches: open, then closed for good."""

from types import SimpleNamespace

import pytest

from servable_core.batching import Batch
from servable_core.errors import FailedPreconditionError


def test_batch_keeps_order_and_adds_up_sizes():
    """Tasks come back in the order of `add`, and the size counts rows."""
    batch = Batch()
    tasks = [SimpleNamespace(size=3), SimpleNamespace(size=4)]
    batch.add(tasks[0])
    batch.add(tasks[1])
    assert batch.tasks == tasks
    assert batch.size == 7
    assert not batch.is_closed
    assert repr(batch) == "Batch(open, size=7, num_tasks=2)"


def test_closed_batch_takes_no_more_tasks():
    """Closing is one-way and idempotent."""
    batch = Batch()
    batch.close()
    batch.close()
    with pytest.raises(FailedPreconditionError, match="open batch, got Batch\\(closed"):
        batch.add(SimpleNamespace(size=1))
    assert batch.size == 0

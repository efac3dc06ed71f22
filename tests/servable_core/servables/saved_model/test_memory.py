"""Memory comes back when versions are swapped; measured in fresh processes."""

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor

import pytest

from tests.servable_core.servables.saved_model.swapping import MODEL_BYTES, save_tables, swap

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture(scope="module", name="paths")
def _paths(tmp_path_factory):
    """Two versions of a model of 40 MB."""
    base_path = tmp_path_factory.mktemp("swapping")
    return [save_tables(base_path, version) for version in (1, 2)]


def _swap_elsewhere(paths, num_swaps):
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawning) as pool:
        return pool.submit(swap, paths, num_swaps).result()


def test_unloaded_memory_goes_back_to_the_operating_system(paths, monkeypatch):
    """Where TensorFlow has no pool of its own, a version is given back at once.

    Not to the last byte: the C library keeps up to twice its largest buffer, here of 10 MB.
    """
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    before, *with_one, after = _swap_elsewhere(paths, 3)
    assert min(with_one) - before > MODEL_BYTES
    assert max(with_one) - before < 2 * MODEL_BYTES + MODEL_BYTES / 2
    assert with_one[-1] - after > MODEL_BYTES / 2


@pytest.mark.long
@pytest.mark.parametrize("has_pool", ["0", "1"])
def test_a_hundred_swaps_leave_nothing_behind(paths, monkeypatch, has_pool):
    """Memory after swap 100 is that after swap 20, within 10 %; the rest is no leak either."""
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", has_pool)
    resident = _swap_elsewhere(paths, 100)
    assert resident[100] < 1.1 * resident[20]
    # 80 swaps that each keep one hundredth of their model would exceed this.
    assert resident[100] - resident[20] < MODEL_BYTES / 2

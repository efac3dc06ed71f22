"""What the container allows, and whether that is nearly used up."""

import math

import pytest

from servable_core.runtime.memory import is_memory_short, memory_limit_bytes, resident_bytes

GIB = 1 << 30


@pytest.fixture
def control_group(tmp_path):
    """A container of 1,024 GiB, more than any machine that runs this, if the machine had them."""
    (tmp_path / "memory.max").write_text(f"{1024 * GIB}\n")
    return tmp_path


def test_limit_is_the_smaller_of_container_and_machine(tmp_path, control_group):
    machine_bytes = memory_limit_bytes(tmp_path / "none")
    assert memory_limit_bytes(control_group) == min(1024 * GIB, machine_bytes)
    small = tmp_path / "small"
    small.mkdir()
    (small / "memory.max").write_text("1000\n")
    assert memory_limit_bytes(small) == 1000


def test_container_without_a_limit_has_that_of_the_machine(tmp_path):
    (tmp_path / "memory.max").write_text("max\n")
    assert memory_limit_bytes(tmp_path) < math.inf


@pytest.mark.parametrize(("held_share", "is_short"), [(0.5, False), (0.95, True)])
def test_memory_of_all_processes_of_the_container_counts(tmp_path, held_share, is_short):
    """This process is far from the limit; its neighbours are not."""
    limit = resident_bytes() * 10
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    (tmp_path / "memory.stat").write_text(f"anon {int(limit * held_share)}\nfile {limit}\n")
    assert is_memory_short(tmp_path) == is_short


def test_version_1_of_control_groups(tmp_path):
    (tmp_path / "memory").mkdir()
    limit = resident_bytes() * 10
    (tmp_path / "memory" / "memory.limit_in_bytes").write_text(f"{limit}\n")
    (tmp_path / "memory" / "memory.stat").write_text(f"cache 7\ntotal_rss {limit}\n")
    assert is_memory_short(tmp_path)


def test_own_memory_counts_where_the_container_tells_nothing(tmp_path):
    (tmp_path / "memory.max").write_text(f"{resident_bytes() // 2}\n")
    assert is_memory_short(tmp_path)

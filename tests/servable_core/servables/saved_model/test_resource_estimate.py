"""The memory that a SavedModel will take."""

import pytest

from servable_core.errors import InvalidArgumentError
from servable_core.runtime.file_system import FileInfo
from servable_core.servables.saved_model.resource_estimate import (
    OVERRIDE_FILE,
    RamEstimate,
    estimate_ram,
    parse_override,
    read_ram_estimate,
)
from servable_core.testing import FakeFileSystem


@pytest.mark.parametrize(
    ("sizes", "expected"), [([], 0), ([100], 120), ([1], 2), ([1000, 500], 1800)]
)
def test_it_is_estimated_from_the_size_of_all_files(sizes: list[int], expected: int) -> None:
    """Twenty per cent more, rounded up."""
    files = [FileInfo(path=f"/m/1/{size}", size_bytes=size) for size in sizes]

    assert estimate_ram(files) == RamEstimate(loaded=expected)


def test_the_file_of_the_exporter_has_the_last_word() -> None:
    """It replaces the estimate."""
    files = FakeFileSystem()
    files.write("/m/1/saved_model.pb", b"x" * 1000)
    assert read_ram_estimate("/m/1", files) == RamEstimate(loaded=1200)

    files.write(f"/m/1/{OVERRIDE_FILE}", b'{"ram_in_bytes": 7}')
    assert read_ram_estimate("/m/1", files) == RamEstimate(loaded=7)


def test_the_exporter_may_tell_what_only_the_load_needs() -> None:
    """It counts towards the peak, not afterwards."""
    stated = b'{"ram_in_bytes": 7, "transient_ram_in_bytes": 3}'

    estimate = parse_override(stated, "/m/1")

    assert (estimate.loaded, estimate.peak) == (7, 10)


@pytest.mark.parametrize(
    "content",
    [b"", b"7", b"{}", b'{"ram": 7}', b'{"ram_in_bytes": -1}', b'{"ram_in_bytes": true}',
     b'{"ram_in_bytes": 1.5}', b'{"ram_in_bytes": 1, "gpu": 2}', b"\xff",
     b'{"transient_ram_in_bytes": 1}', b'{"ram_in_bytes": 1, "transient_ram_in_bytes": null}'],
)  # fmt: skip
def test_nonsense_in_it_is_an_error(content: bytes) -> None:
    """A wrong estimate would show much later; the message names the file."""
    files = FakeFileSystem()
    files.write(f"/m/1/{OVERRIDE_FILE}", content)

    with pytest.raises(InvalidArgumentError, match=r"/m/1/assets\.extra/resource_"):
        read_ram_estimate("/m/1", files)

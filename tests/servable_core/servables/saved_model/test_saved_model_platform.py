"""When the directory of a SavedModel is complete, from names alone."""

import pytest

from servable_core.runtime.file_system import FileInfo
from servable_core.servables.saved_model.platform import find_missing

INDEX = "variables/variables.index"


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        (["saved_model.pb"], None),
        (["saved_model.pb", "assets/vocab.txt", "fingerprint.pb"], None),
        (["saved_model.pb", INDEX, "variables/variables.data-00000-of-00001"], None),
        ([INDEX, "variables/variables.data-00000-of-00001"], "it has no saved_model.pb"),
        (["saved_model.pb", INDEX], "it has no variables/variables.data-00000-of-00001"),
        (
            ["saved_model.pb", "variables/variables.data-00000-of-00001"],
            "it has no variables/variables.index",
        ),
        (
            ["saved_model.pb", INDEX, "variables/variables.data-00001-of-00003"],
            "it has no variables/variables.data-00000-of-00003",
        ),
    ],
)
def test_missing_files_are_named(names: list[str], missing: str | None) -> None:
    """The graph, and the variables' index and shards where there is any of them."""
    files = {name: FileInfo(path=f"/m/1/{name}", size_bytes=1) for name in names}

    assert find_missing(files) == missing

"""What differs between two configurations: a table."""

import pytest

from servable_core.config.server_config import ServerConfig
from servable_core.server_core.config_change import ConfigChange, union_of
from tests.servable_core.server_core.fakes import config, model

A, B = model("a"), model("b")
CASES = [
    (config(), config(), "", "", ""),
    (config(), config(A, B), "ab", "", ""),
    (config(A, B), config(B), "", "", "a"),
    (config(A), config(B), "b", "", "a"),
    (config(A), config(model("a", 1)), "", "a", ""),
    (config(A), config(model("a", base_path="/new")), "", "a", ""),
    (config(A), config(model("a", version_labels={"stable": 1})), "", "", ""),
    (config(A, B), config(B, A), "", "", ""),
]


@pytest.mark.parametrize(("old", "new", "added", "changed", "removed"), CASES)
def test_the_difference_is_by_model(
    old: ServerConfig, new: ServerConfig, added: str, changed: str, removed: str
) -> None:
    """Labels and order do not count."""
    assert ConfigChange.between(old, new) == ConfigChange(
        frozenset(added), frozenset(changed), frozenset(removed)
    )


def test_the_union_has_the_new_form_of_each_model() -> None:
    """And the models besides that are to go."""
    new = model("a", 1)
    assert union_of(config(A, B), config(new)) == config(new, B)

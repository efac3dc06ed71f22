"""What differs between two configurations: a table."""

import pytest

from servable_core.config.server_config import ServerConfig
from servable_core.errors import NotFoundError
from servable_core.server_core.config_change import ConfigChange, union_of
from servable_core.sources.version_selection import select_present, select_versions
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
    new = model("a", base_path="/new")
    assert union_of(config(A, B), config(new), keeps_versions=lambda _: True) == config(new, B)


def test_the_union_keeps_the_versions_of_a_changed_policy() -> None:
    """Those that are wanted must be there, the others need not."""
    (both,) = union_of(
        config(model("a", 1, 2)), config(model("a", 2, 3)), keeps_versions=lambda _: True
    ).models
    assert select_versions(both.versions, [1, 2, 3, 4]) == [1, 2, 3]
    assert select_versions(both.versions, [2, 3]) == [2, 3]
    assert select_present(both.versions, [1, 2]) == [1, 2]
    with pytest.raises(NotFoundError, match="version 3 not found"):
        select_versions(both.versions, [1, 2])
    only_new = config(model("a", 2))
    assert union_of(config(A), only_new, keeps_versions=lambda _: False) == only_new

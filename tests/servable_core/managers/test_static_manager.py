"""A manager of what is there already."""

import pytest

from servable_core.errors import InvalidArgumentError, NotFoundError
from servable_core.lifecycle import ServableId, ServableRequest
from servable_core.managers import StaticManager

MANAGER = StaticManager({ServableId("a", 1): "a1", ServableId("a", 2): "a2", ServableId("b", 0): 7})


@pytest.mark.parametrize(
    ("request_", "servable"),
    [
        (ServableRequest.latest("a"), "a2"),
        (ServableRequest.earliest("a"), "a1"),
        (ServableRequest.specific("a", 1), "a1"),
    ],
)
def test_what_it_was_made_with_is_found(request_: ServableRequest, servable: str) -> None:
    """Like in any other manager."""
    with MANAGER.get_servable_handle(request_, str) as handle:
        assert handle.servable == servable


def test_everything_is_listed() -> None:
    """Sorted by id."""
    assert list(map(str, MANAGER.list_available_servable_ids())) == ["a/1", "a/2", "b/0"]


def test_handles_of_one_type_can_be_had_all_at_once() -> None:
    """Whatever is of another type is left out."""
    handles = MANAGER.get_available_servable_handles(str)

    assert {str(i): handle.servable for i, handle in handles.items()} == {"a/1": "a1", "a/2": "a2"}
    for handle in handles.values():
        handle.close()


@pytest.mark.parametrize(
    "request_", [ServableRequest.latest("c"), ServableRequest.specific("a", 3)]
)
def test_anything_else_is_not_found(request_: ServableRequest) -> None:
    """By name or by version."""
    with pytest.raises(NotFoundError):
        MANAGER.get_servable_handle(request_, str)


def test_a_wrong_type_is_refused() -> None:
    """The message names both types."""
    with pytest.raises(InvalidArgumentError, match="b/0 is a int, not the str"):
        MANAGER.get_servable_handle(ServableRequest.latest("b"), str)


def test_none_is_refused() -> None:
    """It is most likely a mistake."""
    with pytest.raises(InvalidArgumentError, match="a/1 must be a servable, got None"):
        StaticManager({ServableId("a", 1): None})

"""Identities and requests."""

import pytest

from servable_core.errors import InvalidArgumentError
from servable_core.lifecycle import ServableId, ServableRequest


def test_ids_are_ordered_by_name_and_then_by_number() -> None:
    """Version 10 comes after version 9, and names come first."""
    ids = [ServableId("b", 1), ServableId("a", 10), ServableId("a", 9)]

    assert sorted(ids) == [ServableId("a", 9), ServableId("a", 10), ServableId("b", 1)]


def test_an_id_reads_as_name_and_version() -> None:
    """The text form is that of paths and messages."""
    assert str(ServableId("ranker", 3)) == "ranker/3"


def test_a_negative_version_is_refused() -> None:
    """Versions count from 0."""
    with pytest.raises(InvalidArgumentError, match="'ranker' must be 0 or more, got -1"):
        ServableId("ranker", -1)


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (ServableRequest.latest("a"), "latest(a)"),
        (ServableRequest.earliest("a"), "earliest(a)"),
        (ServableRequest.specific("a", 0), "specific(a, 0)"),
        (ServableRequest.from_id(ServableId("a", 4)), "specific(a, 4)"),
    ],
)
def test_a_request_says_what_it_asks_for(request_: ServableRequest, text: str) -> None:
    """Each kind of request has its own text form, version 0 included."""
    assert str(request_) == text

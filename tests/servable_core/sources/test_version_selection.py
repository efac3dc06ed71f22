"""Which versions a policy picks, and how policies are written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servable_core.errors import InvalidArgumentError, NotFoundError
from servable_core.sources import (
    AllVersions,
    LatestVersions,
    SpecificVersions,
    VersionPolicy,
    parse_version_policy,
    select_versions,
)


@pytest.mark.parametrize(
    ("policy", "available", "expected"),
    [
        (LatestVersions(), [3, 10, 9], [10]),
        (LatestVersions(2), [3, 10, 9], [9, 10]),
        (LatestVersions(5), [3, 1], [1, 3]),
        (LatestVersions(), [], []),
        (LatestVersions(), [20170111173521, 7], [20170111173521]),
        (AllVersions(), [2, 1, 2], [1, 2]),
        (SpecificVersions((3, 1, 3)), [1, 2, 3], [1, 3]),
    ],
)
def test_selection(policy: VersionPolicy, available: list[int], expected: list[int]) -> None:
    """Versions are compared as numbers and come out ascending and distinct."""
    assert select_versions(policy, available) == expected


@pytest.mark.parametrize(
    ("available", "present"), [([2, 10, 1], "versions present: 1, 2, 10"), ([], "present: none")]
)
def test_a_missing_version_is_an_error_that_lists_what_is_there(
    available: list[int], present: str
) -> None:
    """The message names both the versions missing and those present."""
    with pytest.raises(NotFoundError, match=f"version 4, 7 not found; .*{present}"):
        select_versions(SpecificVersions((7, 4)), available)


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("latest", LatestVersions()),
        ("latest:2", LatestVersions(2)),
        ("all", AllVersions()),
        ("3", SpecificVersions((3,))),
        (" 3, 5 ", SpecificVersions((3, 5))),
        ("0", SpecificVersions((0,))),
    ],
)
def test_text_forms(text: str, policy: VersionPolicy) -> None:
    """Each documented form is understood."""
    assert parse_version_policy(text) == policy


@pytest.mark.parametrize(
    "text", ["", "newest", "latest:", "latest:x", "-1", "3,,5", "1_0", "all:2", "3.5", "٣"]
)
def test_other_texts_are_refused_with_what_was_expected(text: str) -> None:
    """The message repeats the text and names the forms."""
    with pytest.raises(InvalidArgumentError, match="expected 'latest', 'latest:N', 'all'") as error:
        parse_version_policy(text)
    assert repr(text) in str(error.value)


def test_zero_latest_versions_are_refused() -> None:
    """To want no version at all is a mistake."""
    with pytest.raises(InvalidArgumentError, match="num_versions must be 1 or more, got 0"):
        parse_version_policy("latest:0")


@given(st.lists(st.integers(0, 50)), st.integers(1, 10))
def test_latest_picks_the_end_of_all(available: list[int], num_versions: int) -> None:
    """Never more than asked, and no version left out is higher than one picked."""
    everything = select_versions(AllVersions(), available)
    latest = select_versions(LatestVersions(num_versions), available)

    assert latest == everything[-len(latest) :] or not latest
    assert len(latest) == min(num_versions, len(everything))


@given(st.lists(st.integers(0, 10), min_size=1), st.lists(st.integers(0, 10)))
def test_specific_picks_all_it_names_or_raises(versions: list[int], available: list[int]) -> None:
    """There is no third outcome: a version named is never left out silently."""
    try:
        selected = select_versions(SpecificVersions(tuple(versions)), available)
    except NotFoundError:
        assert not set(versions) <= set(available)
    else:
        assert selected == sorted(set(versions))


@given(st.lists(st.integers(0, 2**63 - 1), min_size=1))
def test_lists_of_versions_survive_their_text_form(versions: list[int]) -> None:
    """Writing and parsing are inverse."""
    text = ",".join(map(str, versions))

    assert parse_version_policy(text) == SpecificVersions(tuple(versions))

"""The rules of version labels, as a table and against a core."""

import pytest

from servable_core.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError
from servable_core.lifecycle import ServableId
from servable_core.server_core.version_labels import assigned_labels, find_version
from tests.servable_core.server_core.fakes import (
    PATIENCE_SECS,
    FakeStore,
    available,
    config,
    model,
    use,
)

ASSIGNED = [
    ({}, {"stable": 1}, False, {"stable": 1}),  # new
    ({"stable": 1}, {"stable": 1}, False, {}),  # stays
    ({"stable": 1}, {"stable": 2}, False, {"stable": 2}),  # points elsewhere
    ({"stable": 1}, {}, False, {}),  # taken away
    ({"stable": 1}, {"stable": 1, "canary": 1}, False, {"canary": 1}),  # two for one version
    ({"stable": 1}, {"stable": 1}, True, {"stable": 1}),  # of a model whose versions change
]


@pytest.mark.parametrize(("old", "new", "is_changed", "expected"), ASSIGNED)
def test_labels_that_are_given_anew(
    old: dict[str, int], new: dict[str, int], is_changed: bool, expected: dict[str, int]
) -> None:
    """Only they are checked."""
    found = assigned_labels({"a": old}, {"a": new}, {"a"} if is_changed else ())
    assert {label: each.version for label, each in found} == expected


def test_an_unknown_label_names_those_there_are() -> None:
    """Of its own model only."""
    labels = {"a": {"stable": 1, "canary": 2}, "b": {"other": 3}}
    assert find_version(labels, "a", "canary") == 2
    with pytest.raises(InvalidArgumentError, match="its labels: 'canary', 'stable'"):
        find_version(labels, "a", "other")
    with pytest.raises(InvalidArgumentError, match="its labels: none"):
        find_version(labels, "c", "other")


STABLE_1 = {"version_labels": {"stable": 1}}
STABLE_2 = {"version_labels": {"stable": 2}}
STABLE_9 = {"version_labels": {"stable": 9}}


def test_labels_of_the_first_configuration_hold_when_the_core_is_made() -> None:
    """Several may share a version."""
    store = FakeStore("a/1", "a/2")
    labels = {"version_labels": {"stable": 1, "old": 1, "canary": 2}}
    with store.core(model("a", 1, 2, **labels)) as core:
        assert use(core, "a", label="stable") == use(core, "a", label="old") == "/a/1"
        assert use(core, "a", label="canary") == "/a/2"
        (status,) = core.statuses()
    assert [(each.version, each.labels) for each in status.versions] == [
        (2, ("canary",)),
        (1, ("old", "stable")),
    ]


def test_a_label_of_the_first_configuration_must_point_to_a_version_that_is_served() -> None:
    """The version policy has to pick it; nothing stays loaded otherwise."""
    store = FakeStore("a/1", "a/2")
    with pytest.raises(FailedPreconditionError, match="'stable' cannot be given to version 1"):
        store.core(model("a", **STABLE_1))
    assert store.num_loaded == 0


def test_a_label_is_valid_as_soon_as_its_version_is_available() -> None:
    """Where not all models are required; before that the request says so."""
    store = FakeStore()
    with store.core(model("a", **STABLE_1), requires_all_models=False) as core:
        with pytest.raises(NotFoundError, match="label 'stable' points to a version that is not"):
            use(core, "a", label="stable")
        store.write("a/1")
        core.poll()
        core._manager.wait_until_available([ServableId("a", 1)], PATIENCE_SECS)
        assert use(core, "a", label="stable") == "/a/1"


def test_a_label_in_force_can_be_checked() -> None:
    """By the rules for one that is given: what a core that tolerates all has is looked at so."""
    store = FakeStore("a/1", "a/2", "a/3")
    store.failing = {"/a/2"}
    labels = {"version_labels": {"stable": 1, "broken": 2, "unwanted": 3, "gone": 9}}
    with store.core(model("a", 1, 2, **labels), requires_all_models=False) as core:
        core.check_label("a", "stable")
        for label, version in (("broken", 2), ("unwanted", 3), ("gone", 9)):
            with pytest.raises(
                FailedPreconditionError,
                match=f"label {label!r} cannot be given to version {version} of model 'a'",
            ):
                core.check_label("a", label)
        with pytest.raises(InvalidArgumentError, match="no version label 'other'"):
            core.check_label("a", "other")


def test_labels_of_a_new_model_come_with_it() -> None:
    """They are checked when its loads are done."""
    store = FakeStore("a/1", "b/1")
    with store.core(model("a")) as core:
        core.add_model(model("b", **STABLE_1))
        assert use(core, "b", label="stable") == "/b/1"
        core.remove_model("b")
        with pytest.raises(InvalidArgumentError, match="no version label"):
            use(core, "b", label="stable")


def test_a_label_moves_to_another_available_version() -> None:
    """A reload of labels alone loads nothing."""
    store = FakeStore("a/1", "a/2")
    with store.core(model("a", 1, 2, **STABLE_1)) as core:
        core.reload(config(model("a", 1, 2, **STABLE_2)))
        assert use(core, "a", label="stable") == "/a/2"


def test_a_label_may_come_with_the_version_it_points_to() -> None:
    """One reload loads the version and moves the label to it."""
    store = FakeStore("a/1", "a/2")
    with store.core(model("a", 1, **STABLE_1)) as core:
        core.reload(config(model("a", 1, 2, **STABLE_2)))
        assert use(core, "a", label="stable") == "/a/2"


@pytest.mark.parametrize("labels", [STABLE_9, {"version_labels": {"stable": 1, "new": 9}}])
def test_a_label_for_an_unavailable_version_of_a_loaded_model_is_refused(
    labels: dict[str, dict[str, int]],
) -> None:
    """Be it moved or new; the labels in force stay, and no other model is loaded."""
    store = FakeStore("a/1", "b/1")
    with store.core(model("a", **STABLE_1)) as core:
        with pytest.raises(FailedPreconditionError, match="version 9 of model 'a', which is not"):
            core.reload(config(model("a", **labels), model("b")))
        assert use(core, "a", label="stable") == "/a/1"
        assert "/b/1" not in store.loaders


def test_a_labelled_version_cannot_be_dropped_by_the_version_policy() -> None:
    """Take the label away first, or move it."""
    store = FakeStore("a/1", "a/2")
    with store.core(model("a", 1, 2, **STABLE_1)) as core:
        with pytest.raises(FailedPreconditionError, match="'stable' cannot be given to version 1"):
            core.reload(config(model("a", 2, **STABLE_1)))
        assert use(core, "a", label="stable") == "/a/1"
        assert available(core) == ["a/1", "a/2"]


def test_a_label_survives_the_version_it_points_to() -> None:
    """Requests for it fail, other reloads go on, and status shows it."""
    store = FakeStore("a/1", "b/1")
    with store.core(model("a", **STABLE_1)) as core:
        store.write("a/2")
        core.poll()
        assert store.loaders["/a/1"][0].unload_started.wait(PATIENCE_SECS)
        core._manager.wait_until(
            ["a"],
            lambda _, versions: not versions.is_available(ServableId("a", 1)),
            PATIENCE_SECS,
        )
        with pytest.raises(NotFoundError, match="label 'stable'"):
            use(core, "a", label="stable")
        core.add_model(model("b"))
        assert core.statuses()[0].version_labels == {"stable": 1}


def test_a_new_label_may_point_to_an_unavailable_version_where_that_is_allowed() -> None:
    """Requests for it fail until the version is there; a label in use never moves to such a one."""
    store = FakeStore("a/1", "b/1")
    options = {"allows_labels_of_unavailable_versions": True}
    with store.core(model("a", version_labels={"next": 2}), **options) as core:
        with pytest.raises(NotFoundError, match="label 'next' points to a version that is not"):
            use(core, "a", label="next")
        core.reload(config(model("a", version_labels={"next": 2, "later": 3})))
        with pytest.raises(FailedPreconditionError, match="'later' cannot be given to version 9"):
            core.reload(config(model("a", version_labels={"next": 2, "later": 9})))
        store.write("a/2")
        core.poll()
        core._manager.wait_until_available([ServableId("a", 2)], PATIENCE_SECS)
        assert use(core, "a", label="next") == "/a/2"

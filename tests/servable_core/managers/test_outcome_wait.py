"""What a wait for many has yet to see decided."""

from servable_core.managers.outcome_wait import OutcomeWait


def test_only_what_has_changed_is_asked_about_and_in_order() -> None:
    """First all of them, then those that change; others are not its business."""
    asked: list[str] = []
    decided = {"b"}

    def is_decided(name: str) -> bool:
        asked.append(name)
        return name in decided

    wait = OutcomeWait(["b", "a", "b"])
    assert not wait.is_over(is_decided)
    assert not wait.is_over(is_decided)
    wait.note_change("other")
    decided.add("a")
    assert not wait.is_over(is_decided)
    wait.note_change("a")
    assert wait.is_over(is_decided)

    assert asked == ["b", "a", "a"]


def test_what_was_decided_may_become_undecided_again() -> None:
    """A version may go again while others are still waited for."""
    available = {"a"}
    wait = OutcomeWait(["a", "b"])
    assert not wait.is_over(available.__contains__)

    available.remove("a")
    available.add("b")
    for name in "ab":
        wait.note_change(name)
    assert not wait.is_over(available.__contains__)

    available.add("a")
    wait.note_change("a")
    assert wait.is_over(available.__contains__)

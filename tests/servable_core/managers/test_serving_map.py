"""Look-ups and the counting of handles."""

import pytest
from typing_extensions import override

from servable_core.errors import InvalidArgumentError, NotFoundError
from servable_core.lifecycle import ServableHandle, ServableId, ServableRequest
from servable_core.managers import ServedServable, ServingMap


class Drained:
    """Counts the calls of `on_drained`."""

    def __init__(self) -> None:
        self.num_calls = 0

    def __call__(self) -> None:
        self.num_calls += 1


def _serve(serving_map: ServingMap, name: str, version: int) -> ServedServable[str]:
    served = ServedServable(ServableId(name, version), f"{name}{version}", Drained())
    serving_map.add(served)
    return served


@pytest.mark.parametrize(
    ("request_", "found"),
    [
        (ServableRequest.latest("a"), "a10"),
        (ServableRequest.earliest("a"), "a0"),
        (ServableRequest.specific("a", 9), "a9"),
        (ServableRequest.latest("b"), "b1"),
        (ServableRequest.earliest("b"), "b1"),
    ],
)
def test_look_up(request_: ServableRequest, found: str) -> None:
    """Latest and earliest go by number, not by the order of loading."""
    serving_map = ServingMap()
    for name, version in [("a", 10), ("a", 0), ("b", 1), ("a", 9)]:
        _serve(serving_map, name, version)

    with serving_map.get(request_, str) as handle:
        assert handle.servable == found
        assert str(handle.servable_id) == f"{found[0]}/{found[1:]}"


@pytest.mark.parametrize(
    "request_", [ServableRequest.latest("c"), ServableRequest.specific("a", 2)]
)
def test_what_is_not_there_is_not_found(request_: ServableRequest) -> None:
    """The message names what is there."""
    serving_map = ServingMap()
    _serve(serving_map, "a", 1)

    with pytest.raises(NotFoundError, match="available: a/1"):
        serving_map.get(request_, str)


def test_a_wrong_type_is_refused_and_leaves_no_handle() -> None:
    """The message names both types."""
    serving_map = ServingMap()
    served = _serve(serving_map, "a", 1)

    with pytest.raises(InvalidArgumentError, match="a/1 is a str, not the int"):
        serving_map.get(ServableRequest.latest("a"), int)

    serving_map.remove(served)
    assert served.is_drained


def test_a_removed_servable_is_not_found_but_its_handles_stay_valid() -> None:
    """Removal waits for nobody, and the next version in line answers."""
    serving_map = ServingMap()
    _serve(serving_map, "a", 1)
    newest = _serve(serving_map, "a", 2)

    with serving_map.get(ServableRequest.latest("a"), str) as old:
        serving_map.remove(newest)
        with serving_map.get(ServableRequest.latest("a"), str) as new:
            assert (old.servable, new.servable) == ("a2", "a1")
    assert serving_map.list_ids() == [ServableId("a", 1)]


def test_a_servable_is_drained_when_its_last_handle_closes() -> None:
    """Handles of others do not count, nor do those closed before."""
    serving_map = ServingMap()
    served, other = _serve(serving_map, "a", 1), _serve(serving_map, "b", 1)
    request = ServableRequest.latest("a")
    other_handle = serving_map.get(ServableRequest.latest("b"), str)
    first, second = serving_map.get(request, str), serving_map.get(request, str)

    serving_map.remove(served)
    seen = []
    for handle in (first, second, other_handle):
        seen.append((served.is_drained, other.is_drained))
        handle.close()

    assert seen == [(False, False), (False, False), (True, False)]


def test_the_owner_is_told_of_closed_handles_only_after_retirement() -> None:
    """While a servable is available nobody needs to know."""
    on_drained = Drained()
    served = ServedServable(ServableId("a", 1), "a1", on_drained)
    early, late = served.acquire(), served.acquire()
    assert isinstance(early, ServableHandle)
    assert isinstance(late, ServableHandle)

    early.close()
    served.retire()
    assert on_drained.num_calls == 0
    late.close()
    assert on_drained.num_calls == 1


class _BusyOnce(ServedServable[str]):
    """Refuses the first caller, as while another thread finds out that it is not idle."""

    __slots__ = ("num_refusals",)

    @override
    def acquire(self) -> ServableHandle[str] | None:
        self.num_refusals = getattr(self, "num_refusals", 0) + 1
        return super().acquire() if self.num_refusals > 1 else None


def test_all_handles_include_what_is_refused_for_a_moment_only() -> None:
    """It is available all the while."""
    serving_map = ServingMap()
    served = _BusyOnce(ServableId("a", 1), "a1", Drained())
    serving_map.add(served)

    handles = serving_map.get_all(str)

    assert list(handles) == [served.servable_id]
    handles[served.servable_id].close()


def test_all_handles_leave_out_what_is_removed_meanwhile() -> None:
    """Nobody waits for it to come back."""
    serving_map = ServingMap()

    class Going(ServedServable[str]):
        """Is removed while somebody asks for it."""

        __slots__ = ()

        @override
        def acquire(self) -> ServableHandle[str] | None:
            serving_map.remove(self)
            return super().acquire()

    serving_map.add(Going(ServableId("a", 1), "a1", Drained()))

    assert serving_map.get_all(str) == {}


def test_what_is_retired_stays_so_also_when_it_is_found_busy() -> None:
    """A second removal does not bring it back."""
    serving_map = ServingMap()
    served = _serve(serving_map, "a", 1)
    with serving_map.get(ServableRequest.latest("a"), str):
        serving_map.remove(served)
        assert not serving_map.remove_if_idle(served)
        assert served.acquire() is None
    assert served.is_drained
    assert serving_map.remove_if_idle(served)


def test_a_retired_servable_gives_no_handles() -> None:
    """Whoever still finds it in an old snapshot is refused, and stays drained."""
    served = ServedServable(ServableId("a", 1), "a1", Drained())

    served.retire()

    assert served.acquire() is None
    assert served.is_drained

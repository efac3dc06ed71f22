"""When a version directory counts as complete."""

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from servable_core.runtime.file_system import FileInfo
from servable_core.sources.base_path_watch import BasePathWatch, ListingTime
from servable_core.sources.storage_path_versions import storage_path_versions
from servable_core.sources.version_completeness import accept_any, find_temporary_name

WALL_TIME = 1_700_000_000.0
SETTLE_SECS = 5.0


def _observe(
    watch: BasePathWatch,
    secs: float,
    *files: FileInfo,
    settle_secs: float = SETTLE_SECS,
) -> BasePathWatch:
    def find_missing(files: Mapping[str, FileInfo]) -> str | None:
        return None if "graph" in files else "no graph"

    time = ListingTime(now=secs, wall_time=WALL_TIME + secs)
    return watch.observe(storage_path_versions("/m", files), time, settle_secs, find_missing)


def _file(path: str, mtime_secs: float = WALL_TIME, size_bytes: int = 1) -> FileInfo:
    return FileInfo(path=path, size_bytes=size_bytes, mtime_secs=mtime_secs)


OLD = WALL_TIME - 1000.0


@pytest.mark.parametrize(
    "name",
    [
        "saved_model.pb.tmp",
        "variables/x.partial",
        "variables_temp/part-0",
        "_temporary/0/graph",
        "tmp.temp",
        "a.filepart",
        "graph_.gstmp",
        ".saved_model.pb.Xa81kd",
        "variables/.variables.index.q3ZZ9a",
    ],
)
def test_temporary_names_are_known(name: str) -> None:
    """Those of rsync, browsers, gsutil, Hadoop and TensorFlow's checkpoint writer."""
    assert find_temporary_name(["graph", name]) == name


@pytest.mark.parametrize(
    "name", ["saved_model.pb", "assets/city_temp", "assets/a.part", ".hidden", "tmp", "a.template"]
)
def test_names_that_a_model_may_have_are_left_alone(name: str) -> None:
    """A model whose asset has an odd name must not wait for ever."""
    assert find_temporary_name([name]) is None


def test_what_is_old_at_the_first_listing_is_complete_at_once() -> None:
    """A server that starts does not wait for models that lay there all along."""
    watch = _observe(BasePathWatch(), 0, _file("/m/1/graph", OLD))

    assert watch.complete == {1: "/m/1"}
    assert watch.settling == frozenset()


@pytest.mark.parametrize("mtime_secs", [WALL_TIME - 1, WALL_TIME + 1000, 0.0])
def test_what_is_fresh_or_of_unknown_age_must_come_to_rest(mtime_secs: float) -> None:
    """Clocks that disagree and stores without times cost a wait, and nothing else."""
    file = _file("/m/1/graph", mtime_secs)

    first = _observe(BasePathWatch(), 0, file)
    early = _observe(first, SETTLE_SECS - 0.1, file)
    late = _observe(early, SETTLE_SECS, file)

    assert (first.complete, early.complete, late.complete) == ({}, {}, {1: "/m/1"})
    assert first.settling == early.settling == {1}
    assert first.rest_secs == SETTLE_SECS
    assert late.rest_secs is None


def test_a_copy_that_keeps_old_times_is_not_believed() -> None:
    """Files that appear later come to rest first, whatever their times of change say."""
    empty = _observe(BasePathWatch(), 0)

    half = _observe(empty, 10, _file("/m/1/graph", OLD))
    whole = [_file("/m/1/graph", OLD), _file("/m/1/data", OLD)]
    changed = _observe(half, 14, *whole)
    still = _observe(changed, 18, *whole)
    rested = _observe(still, 19, *whole)

    assert [bool(each.complete) for each in (half, changed, still, rested)] == [
        False,
        False,
        False,
        True,
    ]


@pytest.mark.parametrize(
    "changed",
    [
        _file("/m/1/graph", size_bytes=2),
        _file("/m/1/graph", mtime_secs=WALL_TIME + 1),
        _file("/m/1/graph.tmp"),
    ],
)
def test_every_change_restarts_the_wait(changed: FileInfo) -> None:
    """Sizes, times and names all count."""
    watch = _observe(BasePathWatch(), 0, _file("/m/1/graph"))
    watch = _observe(watch, 4, changed)
    watch = _observe(watch, 8, changed)

    assert watch.complete == {}


def test_a_version_that_lacks_a_file_never_becomes_complete() -> None:
    """However long it rests; the reason is kept."""
    watch = _observe(BasePathWatch(), 0, _file("/m/1/data", OLD))
    watch = _observe(watch, 1000, _file("/m/1/data", OLD))

    assert watch.complete == {}
    assert watch.lacking == {1: "no graph"}
    assert watch.settling == frozenset()


def test_what_is_complete_stays_so_while_it_is_there() -> None:
    """A touched file does not unload a model; a directory that went must come to rest again."""
    watch = _observe(BasePathWatch(), 0, _file("/m/1/graph", OLD))
    touched = _observe(watch, 1, _file("/m/1/data", WALL_TIME + 1))
    gone = _observe(touched, 2)
    back = _observe(gone, 3, _file("/m/1/graph", OLD))

    assert touched.complete == {1: "/m/1"}
    assert gone.complete == {}
    assert back.settling == {1}


def test_without_a_settle_time_the_first_look_counts() -> None:
    """For stores that only ever show finished versions."""
    watch = _observe(BasePathWatch(), 0, _file("/m/1/graph"), settle_secs=0)

    assert watch.complete == {1: "/m/1"}


_listings = st.lists(
    st.tuples(st.floats(0, 4), st.dictionaries(st.sampled_from("abc"), st.integers(0, 2))),
    max_size=12,
)


@settings(deadline=None)  # machines pause
@given(_listings)
def test_nothing_becomes_complete_within_the_settle_time_of_its_last_change(
    listings: list[tuple[float, dict[str, int]]],
) -> None:
    """Whatever is copied, deleted and written in between."""
    watch, now, last, last_change = BasePathWatch().failed(), 0.0, None, 0.0
    for wait_secs, contents in listings:
        now += wait_secs
        files = [_file(f"/m/1/{name}", OLD, size) for name, size in sorted(contents.items())]
        last_change = now if files != last else last_change
        last = files
        was_complete = bool(watch.complete)
        time = ListingTime(now=now, wall_time=WALL_TIME + now)
        watch = watch.observe(storage_path_versions("/m", files), time, SETTLE_SECS, accept_any)

        assert not watch.complete or was_complete or now - last_change >= SETTLE_SECS

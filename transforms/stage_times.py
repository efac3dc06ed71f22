"""Where a unit's time goes: seconds by stage of the data flow, two clock readings per batch and stage."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from typing import TypeVar

T = TypeVar("T")


class TimedStage(Enum):
    """What a thread of a unit does, or waits for."""

    READ = "read"
    PARSE = "parse"
    PREPROCESS = "preprocess"
    WAIT_FOR_ROWS = "wait_for_rows"
    BIND = "bind"
    WAIT_FOR_MODEL = "wait_for_model"
    CONVERT = "convert"
    WRITE = "write"


class StageTimes:
    """The time of one thread by stage; each moment counts for the innermost stage only.

    One thread at a time.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        """Reads monotonic seconds from `now`."""
        self._now = now
        self._secs = dict.fromkeys(TimedStage, 0.0)
        self._open: list[TimedStage] = []
        self._since_secs = 0.0

    @contextmanager
    def during(self, stage: TimedStage) -> Iterator[None]:
        """Counts the body for `stage`, less the stages within it."""
        self._count()
        self._open.append(stage)
        try:
            yield
        finally:
            self._count()
            self._open.pop()

    def iterate(self, stage: TimedStage, items: Iterable[T]) -> Iterator[T]:
        """Yields `items`; what making each of them takes counts for `stage`, its use does not."""
        iterator = iter(items)
        while True:
            with self.during(stage):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    def _count(self) -> None:
        now_secs = self._now()
        if self._open:
            self._secs[self._open[-1]] += now_secs - self._since_secs
        self._since_secs = now_secs

    def secs(self) -> dict[str, float]:
        """Returns the seconds of each stage that has ended."""
        return {stage.value: secs for stage, secs in self._secs.items()}


def added_up(times: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Returns the seconds by stage of several threads or units together; all stages are there."""
    total = {stage.value: 0.0 for stage in TimedStage}
    for each in times:
        for stage, secs in each.items():
            total[stage] = total.get(stage, 0.0) + secs
    return {stage: round(secs, 6) for stage, secs in total.items()}

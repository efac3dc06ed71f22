"""What holds a job up, by where its time went, and which flags change that."""

from collections.abc import Mapping
from dataclasses import dataclass

_MIN_SECS = 1.0  # of a shorter job, start-up and chance say more than the stages do
_BUSY = 0.75
_OF_READER = ("read", "parse", "preprocess")
_OF_UNIT = ("wait_for_rows", "bind", "wait_for_model", "convert", "write")
_MODEL_FLAGS = ("--num_batch_threads", "--jit_compile", "--devices")
_MORE_UNITS_FLAGS = ("--direct_num_workers",)
_SMALLER_UNITS_FLAGS = ("--unit_bytes", "--unit_rows", *_MORE_UNITS_FLAGS)


@dataclass(frozen=True, kw_only=True, slots=True)
class JobTimes:
    """Where the time of a job went.

    Attributes:
        stage_secs: Seconds by stage, all units together; "run" are those in the models.
        unit_secs: How long units took, summed.
        steady_secs: Time in which at least one unit ran.
        batch_thread_secs: Time that the batch threads had while units ran, summed.
        num_units: Units of the job.
    """

    stage_secs: Mapping[str, float]
    unit_secs: float
    steady_secs: float
    batch_thread_secs: float
    num_units: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Bottleneck:
    """The stage that holds a job up.

    Attributes:
        stage: Its name in the stage times; "queue" where calls of the model are waited for though
            threads for more of them are idle.
        share: Of the units' time, what is lost to it; for "run", how busy the batch threads were.
        flags: What to change, the most promising first.
    """

    stage: str
    share: float
    flags: tuple[str, ...]


def find_bottleneck(times: JobTimes) -> Bottleneck | None:
    """Returns what holds the job up, or None where its time is too short to tell.

    Busy batch threads are the bottleneck, whatever else waits: they take the cores, too. If they
    are not, the threads that process units tell what they spend most of their time on.
    """
    if times.steady_secs < _MIN_SECS or not times.unit_secs or not times.batch_thread_secs:
        return None
    busy = times.stage_secs["run"] / times.batch_thread_secs
    if busy >= _BUSY:
        return Bottleneck(stage="run", share=round(min(1.0, busy), 3), flags=_MODEL_FLAGS)
    longest = max(_OF_UNIT, key=lambda stage: times.stage_secs[stage])
    return Bottleneck(
        stage=_cause(longest, times.stage_secs),
        share=round(min(1.0, times.stage_secs[longest] / times.unit_secs), 3),
        flags=_flags_for_more_at_once(times),
    )


def _cause(longest: str, stage_secs: Mapping[str, float]) -> str:
    """Returns the stage that a wait is for."""
    if longest == "wait_for_rows":
        return max(_OF_READER, key=lambda stage: stage_secs[stage])
    return "queue" if longest == "wait_for_model" else longest


def _flags_for_more_at_once(times: JobTimes) -> tuple[str, ...]:
    """Returns what lets more units run at a time, each with a reader and a writer of its own."""
    at_once = round(times.unit_secs / times.steady_secs)
    return _MORE_UNITS_FLAGS if times.num_units >= 2 * at_once else _SMALLER_UNITS_FLAGS

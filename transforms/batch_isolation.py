"""Applies a function to a batch such that rows it fails on do not take the others with them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from servable_core.batching.row_isolation import run_isolated
from transforms.bad_records import BadRecord, Stage
from transforms.dead_letters import bad_row
from transforms.input_batch import InputBatch

R = TypeVar("R")


@dataclass(frozen=True, kw_only=True, slots=True)
class Isolated(Generic[R]):
    """What became of a batch.

    Attributes:
        results: Consecutive rows with what the function made of them, in order.
        bad_records: The other rows.
    """

    results: list[tuple[InputBatch, R]] = field(default_factory=list)
    bad_records: list[BadRecord] = field(default_factory=list)


def isolate(
    batch: InputBatch,
    function: Callable[[int, int], R],
    stage: Stage,
    model: tuple[str, int] | None = None,
) -> Isolated[R]:
    """Applies `function` to all rows at once, or if that fails, to parts, until each fails alone.

    Costs about log2(n) calls for each row that fails.

    Args:
        batch: The rows.
        function: What to apply to rows [start, stop) of the batch. An error of it is taken for that
            of one of the rows.
        stage: What to call it in letters.
        model: Whose rows they are, in letters; None for all models'.

    Raises:
        Exception: What `function` raised, where it says that it is not about rows: a job that was
            stopped, a file that is gone.
    """
    segments, _ = run_isolated(
        lambda start, stop, _: function(start, stop), batch.num_rows, batch.num_rows
    )
    isolated: Isolated[R] = Isolated()
    for each in segments:
        if each.error is None:
            isolated.results.append((batch.slice(each.start, each.stop), each.result))  # type: ignore[arg-type]  # a segment has one or the other
        elif each.is_row_fault:
            isolated.bad_records.append(bad_row(batch, each.start, stage, each.error, model))
        else:
            raise each.error
    return isolated

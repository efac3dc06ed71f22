"""The states of one unit's rows: read, predicted, measured; records that fail are put aside."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import pyarrow as pa

from transforms.dead_letters import dead_letters_path, write_dead_letters
from transforms.evaluation.evaluation_rows import EvaluationRows
from transforms.evaluation.evaluation_setup import EvaluationSetup
from transforms.evaluation.model_rows import model_rows
from transforms.evaluation.predicted_rows import PredictedRows
from transforms.metrics import Accumulator, Evaluation, States, create_evaluation
from transforms.process_unit import start_attempt
from transforms.unit_job import UnitJob
from transforms.unit_table import Unit

# Rows that are measured at a time: many, for a step of numpy costs as much for few.
_ROWS_PER_UPDATE = 1 << 18
# Fewer where a row is large, as with scores of a thousand classes: they are copied several times.
_BYTES_PER_UPDATE = 256 << 20


@dataclass(frozen=True, kw_only=True)
class RowMeasure:
    """What makes states of predicted rows. Thread-safe.

    Attributes:
        setup: What is measured.
        rows: What makes batches of metrics' columns.
        columns: The columns of the data that it needs.
    """

    setup: EvaluationSetup
    rows: EvaluationRows
    columns: tuple[str, ...]
    evaluation: Evaluation = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "evaluation", create_evaluation(self.setup.options()))

    def measure(self, rows: Iterable[PredictedRows]) -> States:
        """Returns the states of all `rows`."""
        states = Accumulator(self.evaluation)
        for each in pooled(rows, self.columns, _ROWS_PER_UPDATE, _BYTES_PER_UPDATE):
            states.add(self.evaluation.update(self.rows.batch(each.columns, each.outputs)))
        return states.merged()


def evaluate_unit(unit: Unit, job: UnitJob, measure: RowMeasure) -> States:
    """Returns the states of a unit whose predictions its models make.

    Records that fail are counted, and written as dead letters, where the plan allows them to.

    Raises:
        AbortedError: The job was stopped.
        Exception: Whatever reading, the models or a row that does not fit raised.
    """
    attempt = start_attempt(unit, job)
    versions = {(each.name, each.version): index for index, each in enumerate(job.plan.models)}
    try:
        with closing(model_rows(unit, job, attempt)) as rows:
            states = measure.measure(rows)
        if attempt.bad_records:
            path = dead_letters_path(unit.index, len(job.plan.units))
            write_dead_letters(job.output, path, attempt.bad_records)
    except BaseException:
        attempt.take_back()
        raise
    failed = measure.setup.failed_rows.of_records(attempt.bad_records, versions)
    return measure.evaluation.add(states, failed)


def pooled(
    rows: Iterable[PredictedRows], columns: Sequence[str], num_rows: int, num_bytes: int
) -> Iterator[PredictedRows]:
    """Yields the same rows with these columns alone, `num_rows` or `num_bytes` at a time.

    What comes last is less, and any may be a few rows more.
    """
    waiting: list[PredictedRows] = []
    rows_waiting = bytes_waiting = 0
    for each in rows:
        if waiting and _shape(each) != _shape(waiting[0]):
            yield _joined(waiting)
            waiting, rows_waiting, bytes_waiting = [], 0, 0
        kept = PredictedRows(columns=each.columns.select(list(columns)), outputs=each.outputs)
        waiting.append(kept)
        rows_waiting += kept.columns.num_rows
        bytes_waiting += kept.nbytes
        if rows_waiting >= num_rows or bytes_waiting >= num_bytes:
            yield _joined(waiting)
            waiting, rows_waiting, bytes_waiting = [], 0, 0
    if waiting:
        yield _joined(waiting)


def _shape(rows: PredictedRows) -> list[pa.Schema | None]:
    """Returns what must be equal for rows to be joined."""
    return [None if each is None else each.schema for each in rows.outputs]


def _joined(waiting: Sequence[PredictedRows]) -> PredictedRows:
    first = waiting[0]
    if len(waiting) == 1:
        return first
    return PredictedRows(
        columns=pa.concat_batches([each.columns for each in waiting]),
        outputs=tuple(
            None
            if of_first is None
            else pa.concat_batches([each.outputs[index] for each in waiting])
            for index, of_first in enumerate(first.outputs)
        ),
    )

"""What a whole job would take and write, told from one batch of it."""

from dataclasses import dataclass

from transforms.plan import Plan


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchSample:
    """What one batch took and gave.

    Attributes:
        rows: Rows that were read, good and bad.
        input_bytes: About how many bytes of the input they were; 0 where nobody can tell.
        secs: From reading to output columns, the models warm.
        empty_bytes: All models' parts if nothing is in them.
        written_bytes: The same with the rows of the batch.
    """

    rows: int
    input_bytes: int
    secs: float
    empty_bytes: int
    written_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class JobEstimate:
    """What the job would come to, start-up apart.

    Attributes:
        rows: Input rows.
        secs: Time on this machine.
        output_bytes: All parts together.
    """

    rows: int
    secs: float
    output_bytes: int

    def __str__(self) -> str:
        """Returns the line that tells it."""
        return (
            f"would take about {_secs(self.secs)} on this machine, start-up apart, and write about"
            f" {_size(self.output_bytes)}, for about {self.rows:,} rows"
        )


def estimate_job(plan: Plan, sample: BatchSample, num_batch_threads: int) -> JobEstimate | None:
    """Returns what the job comes to if all its rows are like those of `sample`; None if nothing tells.

    Batches share nothing but the machine: as many run at once as there are batch threads.
    """
    rows = _num_rows(plan, sample)
    if rows is None:
        return None
    num_batches = rows / sample.rows
    at_once = min(float(num_batch_threads), max(1.0, num_batches))
    content_bytes = max(0, sample.written_bytes - sample.empty_bytes)
    return JobEstimate(
        rows=rows,
        secs=sample.secs * num_batches / at_once,
        output_bytes=int(content_bytes * num_batches) + sample.empty_bytes * len(plan.units),
    )


def _num_rows(plan: Plan, sample: BatchSample) -> int | None:
    """Returns the rows of the job: as planned, or by the bytes that those of the batch took."""
    if not sample.rows:
        return None
    planned = plan.units.num_rows
    if planned is not None:
        fraction = plan.content.sample
        return planned if fraction is None else round(planned * fraction)
    if not sample.input_bytes:
        return None
    return max(sample.rows, round(plan.size_bytes * sample.rows / sample.input_bytes))


def _secs(secs: float) -> str:
    if secs < 10:
        return f"{max(secs, 0.1):.1f} s"
    return f"{secs:,.0f} s" if secs < 600 else f"{secs / 60:,.0f} min"


def _size(num_bytes: int) -> str:
    for limit, unit in ((2**20, "KiB"), (2**30, "MiB")):
        if num_bytes < limit:
            return f"{num_bytes / limit * 2**10:,.1f} {unit}"
    return f"{num_bytes / 2**30:,.1f} GiB"

"""What a gate decided, and why; `verdict_files` writes and reads it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from transforms.evaluation.results import ALL_ROWS, SliceKey, slice_name


class Status(Enum):
    """What came out of a rule, or of all; the last of these decides."""

    SKIPPED = "SKIPPED"
    PASS = "PASS"  # noqa: S105 - no password
    WARN = "WARN"
    INCONCLUSIVE = "INCONCLUSIVE"
    FAIL = "FAIL"
    ERROR = "ERROR"


_RANK = {status: rank for rank, status in enumerate(Status)}
# What a process exits with; 2 is for wrong flags and files.
_EXIT_CODES = {
    Status.PASS: 0,
    Status.ERROR: 1,
    Status.FAIL: 3,
    Status.INCONCLUSIVE: 4,
}


class Severity(Enum):
    """What it matters if a rule is not kept."""

    BLOCK = "block"
    WARN = "warn"


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleOutcome:
    """What came out of one rule on one slice. What is not known, or does not apply, is None.

    Attributes:
        rule_id: The rule's name.
        metric: The metric.
        sub_key: What else the metric depends on.
        slice: The slice.
        test: What was asked: value, change, non_inferior, superior or equivalent.
        severity: What it matters.
        status: What came out.
        reason: Why, in a sentence.
        num_rows: Rows of the slice.
        baseline_value: The metric of the baseline.
        candidate_value: Of the candidate; of a metric that compares the two, itself.
        delta: Candidate less baseline.
        measure: What is compared with what is allowed: the metric's "value", its "change", which
            is the delta, or its "improvement", which is the change so that more is better.
        measured: That number.
        interval: Its confidence interval, widened by what bins hide.
        interval_level: The level, adjusted for the number of slices.
        interval_method: How the standard error was found.
        approximation_error: How far bins may have moved the number.
        low: The least that is allowed.
        high: The most.
        p_value: Of the test that the number is allowed; small values pass.
        adjusted_p_value: The same, adjusted for the number of slices.
        rows_needed: About how many rows would tell, where the outcome is inconclusive.
    """

    rule_id: str
    metric: str
    sub_key: str = ""
    slice: SliceKey = ALL_ROWS
    test: str
    severity: Severity = Severity.BLOCK
    status: Status
    reason: str
    num_rows: int | None = None
    baseline_value: float | None = None
    candidate_value: float | None = None
    delta: float | None = None
    measure: str | None = None
    measured: float | None = None
    interval: tuple[float, float] | None = None
    interval_level: float | None = None
    interval_method: str | None = None
    approximation_error: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    adjusted_p_value: float | None = None
    rows_needed: int | None = None

    @property
    def effect(self) -> Status:
        """What it means for the verdict: a rule that only warns does no more than that."""
        is_kept = self.status in {Status.PASS, Status.SKIPPED}
        return self.status if self.severity is Severity.BLOCK or is_kept else Status.WARN

    @property
    def slice_name(self) -> str:
        """The slice's name for people."""
        return slice_name(self.slice)


@dataclass(frozen=True, kw_only=True, slots=True)
class CandidateVerdict:
    """What was decided of one version.

    Attributes:
        version: The version.
        outcomes: Of each rule on each of its slices, the gravest first.
        missing_slices: Slices that rules name and no row is in.
        num_suppressed_slices: Slices of rules that have too few rows.
        problem: Why nothing could be decided, as that there are no rules; empty if it could.
    """

    version: int
    outcomes: tuple[RuleOutcome, ...] = ()
    missing_slices: tuple[SliceKey, ...] = ()
    num_suppressed_slices: int = 0
    problem: str = ""

    @property
    def status(self) -> Status:
        """PASS, INCONCLUSIVE, FAIL or ERROR; with warnings it still is PASS."""
        if self.problem:
            return Status.ERROR
        return _passing(worst(each.effect for each in self.outcomes))

    @property
    def warnings(self) -> tuple[RuleOutcome, ...]:
        """Outcomes that warn."""
        return tuple(each for each in self.outcomes if each.effect is Status.WARN)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the status is what it is, in sentences."""
        if self.problem:
            return (self.problem,)
        status = self.status
        return tuple(each.reason for each in self.outcomes if each.effect is status)


@dataclass(frozen=True, kw_only=True, slots=True)
class VerdictInputs:
    """What was judged by what, so that a promotion can check that it is about the same.

    Attributes:
        config_sha256: Of the gate's configuration.
        data_fingerprint: Of the rows.
        models: Fingerprints by version.
    """

    config_sha256: str = ""
    data_fingerprint: str = ""
    models: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What a gate decided of all candidates.

    Attributes:
        model_name: The model.
        baseline: The version they were compared with; None for the first version of a model.
        candidates: One verdict each.
        inputs: What it is about.
    """

    model_name: str
    baseline: int | None
    candidates: tuple[CandidateVerdict, ...]
    inputs: VerdictInputs = field(default_factory=VerdictInputs)

    @property
    def status(self) -> Status:
        """The worst of the candidates'."""
        return worst((each.status for each in self.candidates), least=Status.ERROR)

    @property
    def exit_code(self) -> int:
        """What the process exits with: 0, 1, 3 or 4."""
        return _EXIT_CODES[self.status]

    def of(self, version: int) -> CandidateVerdict | None:
        """Returns what was decided of a version, or None if it was not judged."""
        return next((each for each in self.candidates if each.version == version), None)


def worst(statuses: Iterable[Status], *, least: Status = Status.PASS) -> Status:
    """Returns the gravest of `statuses`: ERROR > FAIL > INCONCLUSIVE > WARN > PASS.

    Args:
        statuses: Any number of them.
        least: What is returned for none.
    """
    return max(statuses, key=_RANK.__getitem__, default=least)


def gravity(status: Status) -> int:
    """Returns a number that is higher for graver statuses."""
    return _RANK[status]


def _passing(status: Status) -> Status:
    return Status.PASS if status in {Status.SKIPPED, Status.WARN} else status

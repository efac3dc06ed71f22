"""What `benchmarks.run` compares: each program with the hand-written loop over the same workload."""

from dataclasses import dataclass

from benchmarks.workloads import WORKLOADS

LOOP_TITLE = "hand-written loop"
OURS_TITLE = "`run_pipeline.py precompute`"


@dataclass(frozen=True, kw_only=True)
class System:
    """One program over one workload, compared with the loop named `baseline`."""

    name: str
    title: str
    module: str
    workload: str
    baseline: str
    extra_flags: tuple[str, ...] = ()
    max_runs: int | None = None  # the slow ones run less often
    takes_copies: bool = False

    def copies(self, wanted: int | None) -> int:
        """Returns how many copies of the data this system reads; None leaves it to the workload."""
        return (wanted or WORKLOADS[self.workload].copies) if self.takes_copies else 1

    def flags(self, wanted_copies: int | None) -> list[str]:
        """Returns the command line of one run, behind the program's name."""
        copies = [f"--copies={self.copies(wanted_copies)}"] if self.takes_copies else []
        return [self.workload, *copies, *self.extra_flags]

    def runs(self, wanted: int) -> int:
        """Returns how many of the wanted runs this system makes."""
        return wanted if self.max_runs is None else min(wanted, self.max_runs)


def _loop(name: str, workload: str) -> System:
    return System(
        name=name,
        title=LOOP_TITLE,
        module="loop",
        workload=workload,
        baseline=name,
        takes_copies=True,
    )


def _ours(name: str, workload: str, baseline: str) -> System:
    return System(
        name=name,
        title=OURS_TITLE,
        module="ours",
        workload=workload,
        baseline=baseline,
        takes_copies=True,
    )


SYSTEMS = (
    _loop("loop", "tabular"),
    _ours("ours", "tabular", "loop"),
    System(
        name="run-inference",
        title="Beam RunInference",
        module="rival_run_inference",
        workload="tabular-small",
        baseline="loop",
        max_runs=3,
    ),
    _loop("loop-examples", "examples"),
    _ours("ours-examples", "examples", "loop-examples"),
    System(
        name="tfx-bsl",
        title="tfx-bsl RunInference",
        module="rival_tfx_bsl",
        workload="examples",
        baseline="loop-examples",
        max_runs=3,
    ),
    _loop("loop-ragged", "ragged"),
    _ours("ours-ragged", "ragged", "loop-ragged"),
    System(
        name="arrival-order",
        title="loop in arrival order, 64 rows a batch",
        module="loop",
        workload="ragged",
        baseline="loop-ragged",
        extra_flags=("--arrival_order",),
        max_runs=3,
    ),
    _loop("loop-images", "images"),
    _ours("ours-images", "images", "loop-images"),
)

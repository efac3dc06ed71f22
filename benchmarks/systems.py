"""What `benchmarks.run` compares: each program with the hand-written loop over the same workload."""

from dataclasses import dataclass, replace

from benchmarks.workloads import WORKLOADS

LOOP_TITLE = "hand-written loop"
OURS_TITLE = "`run_pipeline.py precompute`"


@dataclass(frozen=True, kw_only=True)
class System:
    """One program over one workload, compared with the loop named `baseline`.

    Attributes:
        name: What the command line calls it.
        title: What the table calls it.
        module: The program.
        workload: Its workload.
        baseline: The system that its rates are compared with.
        extra_flags: Further flags of the program.
        max_runs: The slow ones run less often.
        fixed_copies: How often it reads the data, however often others do: a slow one needs less
            for half a minute. None: as often as is asked for, or the workload says.
        batch_sizes: To choose from; each is tried once, and the quickest is measured.
    """

    name: str
    title: str
    module: str
    workload: str
    baseline: str
    extra_flags: tuple[str, ...] = ()
    max_runs: int | None = None
    fixed_copies: int | None = None
    batch_sizes: tuple[int, ...] = ()

    def copies(self, wanted: int | None) -> int:
        """Returns how many copies of the data this system reads; None leaves it to the workload."""
        if self.fixed_copies is not None:
            return self.fixed_copies
        return wanted or WORKLOADS[self.workload].copies

    def flags(self, wanted_copies: int | None) -> list[str]:
        """Returns the command line of one run, behind the program's name."""
        return [self.workload, f"--copies={self.copies(wanted_copies)}", *self.extra_flags]

    def with_batch_size(self, batch_size: int) -> "System":
        """Returns the system with batches of one size."""
        flag = f"--batch_size={batch_size}"
        return replace(
            self,
            title=f"{self.title}, batches of {batch_size:,}",
            extra_flags=(*self.extra_flags, flag),
            batch_sizes=(),
        )

    def runs(self, wanted: int) -> int:
        """Returns how many of the wanted runs this system makes."""
        return wanted if self.max_runs is None else min(wanted, self.max_runs)


def _of_workload(workload: str, *rivals: System) -> tuple[System, ...]:
    """Returns the loop, ours and the rivals."""
    loop = _loop_name(workload)
    return (
        System(name=loop, title=LOOP_TITLE, module="loop", workload=workload, baseline=loop),
        System(
            name=f"ours-{workload}",
            title=OURS_TITLE,
            module="ours",
            workload=workload,
            baseline=loop,
        ),
        *rivals,
    )


def _loop_name(workload: str) -> str:
    return f"loop-{workload}"


def _rival(
    name: str, title: str, workload: str, batch_sizes: tuple[int, ...], copies: int
) -> System:
    return System(
        name=f"{name}-{workload}",
        title=title,
        module=f"rival_{name.replace('-', '_')}",
        workload=workload,
        baseline=_loop_name(workload),
        max_runs=3,
        fixed_copies=copies,
        batch_sizes=batch_sizes,
    )


def _run_inference(workload: str, *batch_sizes: int, copies: int = 1) -> System:
    return _rival("run-inference", "Beam RunInference", workload, batch_sizes, copies)


def _ray(workload: str, *batch_sizes: int, copies: int = 1) -> System:
    return _rival("ray", "Ray Data", workload, batch_sizes, copies)


_TFX_BSL = System(
    name="tfx-bsl",
    title="tfx-bsl RunInference",
    module="rival_tfx_bsl",
    workload="examples",
    baseline=_loop_name("examples"),
    max_runs=3,
    fixed_copies=4,
)
_ARRIVAL_ORDER = System(
    name="arrival-order",
    title="loop in arrival order, 64 rows a batch",
    module="loop",
    workload="ragged",
    baseline=_loop_name("ragged"),
    extra_flags=("--arrival_order",),
    max_runs=3,
    fixed_copies=2,
)
SYSTEMS = (
    *_of_workload(
        "tabular",
        _run_inference("tabular", 1024, 4096, 16_384, copies=2),
        _ray("tabular", 8192, 65_536, copies=20),
    ),
    *_of_workload(
        "examples",
        _run_inference("examples", 1024, 2048, 8192, copies=24),
        _TFX_BSL,
        _ray("examples", 2048, 8192, copies=120),
    ),
    *_of_workload(
        "images", _run_inference("images", 16, 64, copies=2), _ray("images", 16, 64, copies=2)
    ),
    *_of_workload(
        "ragged",
        _ARRIVAL_ORDER,
        _run_inference("ragged", 64, 256, copies=3),
        _ray("ragged", 1024, 4096, copies=5),
    ),
    *_of_workload("demo", _run_inference("demo", 1024, 8192), _ray("demo", 1024, 8192)),
)

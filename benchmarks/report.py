"""The one line of JSON in which every benchmarked program reports its run."""

import dataclasses
import json
import sys
from dataclasses import dataclass
from typing import NoReturn

from benchmarks.checksum import Checksum


@dataclass(frozen=True, kw_only=True)
class Report:
    """What one run did, and how fast.

    `steady_secs` leaves out imports and model load where the system lets us see that. A program that
    starts the measured process itself also gives that process's `wall_secs` and `max_rss_mb`.
    """

    checksum: Checksum
    steady_secs: float
    wall_secs: float | None = None
    max_rss_mb: float | None = None

    @property
    def rows_per_sec(self) -> float:
        """The steady rate."""
        return self.checksum.rows / self.steady_secs


def emit(report: Report) -> None:
    """Prints `report` as one line."""
    summary = {"rows": report.checksum.rows, "rows_per_sec": round(report.rows_per_sec)}
    details = dataclasses.asdict(report)
    details["checksum"]["mean_score"] = report.checksum.mean_score
    print(json.dumps(summary | details))


def emit_skipped(reason: str) -> NoReturn:
    """Prints why this system cannot run on this machine, and ends the process without an error."""
    print(json.dumps({"skipped": reason}))
    sys.exit(0)


def parse(stdout: str) -> Report | str:
    """Reads the last line that a program printed: its report, or the reason why it has none."""
    line = json.loads(stdout.splitlines()[-1])
    if "skipped" in line:
        return str(line["skipped"])
    sums = {name: line["checksum"][name] for name in ("rows", "id_sum", "score_sum")}
    names = ("steady_secs", "wall_secs", "max_rss_mb")
    return Report(checksum=Checksum(**sums), **{name: line[name] for name in names})

"""Runs cases in processes of their own: what hangs is killed, what crashes is named, and all go on."""

import json
import queue
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_WORKER = (sys.executable, "-m", "tests.fuzz.worker")


Case = tuple[str, int]  # a corpus, and the number of a case


@dataclass
class Findings:
    """What came of cases.

    Attributes:
        num_cases: How many ended, well or not.
        outcomes: How often what came of them.
        faults: Those that did not end as they should, and how they did.
    """

    num_cases: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def run_cases(
    chunks: Sequence[Sequence[Case]],
    model: str,
    scratch: Path,
    *,
    num_processes: int,
    patience_secs: float = 100.0,
    worker: Sequence[str] = _WORKER,
) -> Findings:
    """Runs all cases, each chunk in a process of its own, and some of them at a time.

    Args:
        chunks: The cases.
        model: Base path of the model that data are given to.
        scratch: A directory for whatever they write.
        num_processes: How many chunks run at a time.
        patience_secs: How long a case may take, the start of its process included.
        worker: The command that runs cases.
    """
    findings = Findings()
    lock = threading.Lock()

    def run(index: int) -> None:
        left = list(chunks[index])
        while left:
            command = [*worker, model, str(scratch / str(index)), json.dumps(left)]
            found = _run_process(left, command, scratch / f"{index}.stderr", patience_secs)
            left = left[found.num_cases :]
            with lock:
                findings.num_cases += found.num_cases
                findings.outcomes += found.outcomes
                findings.faults += found.faults

    with ThreadPoolExecutor(num_processes) as pool:
        list(pool.map(run, range(len(chunks))))
    return findings


def _run_process(
    cases: Sequence[Case], command: Sequence[str], stderr: Path, patience_secs: float
) -> Findings:
    """Runs cases until one ends the process, or hangs."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    with (
        stderr.open("w") as errors,
        subprocess.Popen(
            command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        reader = threading.Thread(target=_read, args=(process, lines))
        reader.start()
        findings = _collect(lines, cases, patience_secs)
        process.kill()
        reader.join()
    if findings.num_cases < len(cases):
        corpus, number = cases[findings.num_cases]
        findings.num_cases += 1
        tail = stderr.read_text(errors="replace")[-3000:]
        findings.faults.append(
            f"{corpus} {number}: hang or crash (exit code {process.returncode}): {tail}"
        )
    return findings


def _read(process: subprocess.Popen[str], lines: "queue.SimpleQueue[str]") -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put("")


def _collect(
    lines: "queue.SimpleQueue[str]", cases: Sequence[Case], patience_secs: float
) -> Findings:
    """Returns what is told of the cases, up to the first of which nothing is."""
    findings = Findings()
    for corpus, number in cases:
        try:
            line = lines.get(timeout=patience_secs)
        except queue.Empty:
            break
        if not line:
            break
        told = json.loads(line)
        findings.num_cases += 1
        findings.outcomes.update(f"{corpus}: {each}" for each in told.get("outcomes", ()))
        if "fault" in told:
            findings.faults.append(f"{corpus} {number}: {told['fault']}")
    return findings

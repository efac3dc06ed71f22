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
_PATIENCE_SECS = 60.0  # of one case, the start of the process included


@dataclass(frozen=True)
class Chunk:
    """Cases [first, end) of a corpus, for one process."""

    corpus: str
    first: int
    end: int


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


def run_cases(chunks: Sequence[Chunk], model: str, scratch: Path, num_processes: int) -> Findings:
    """Runs all cases, some chunks at a time."""
    findings = Findings()
    lock = threading.Lock()

    def run(index: int) -> None:
        chunk = chunks[index]
        while chunk.first < chunk.end:
            found, first = _run_process(chunk, model, scratch / str(index))
            chunk = Chunk(chunk.corpus, first, chunk.end)
            with lock:
                findings.num_cases += found.num_cases
                findings.outcomes += found.outcomes
                findings.faults += found.faults

    with ThreadPoolExecutor(num_processes) as pool:
        list(pool.map(run, range(len(chunks))))
    return findings


def _run_process(chunk: Chunk, model: str, scratch: Path) -> tuple[Findings, int]:
    """Runs cases until one ends the process, or hangs; returns the first one that is left."""
    scratch.mkdir(parents=True, exist_ok=True)
    arguments = [model, str(scratch), chunk.corpus, str(chunk.first), str(chunk.end)]
    stderr = scratch.with_suffix(".stderr")
    with stderr.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.worker", *arguments],
            cwd=_ROOT,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    reader = threading.Thread(target=_read, args=(process, lines))
    reader.start()
    findings, running = _collect(lines, chunk)
    process.kill()
    code = process.wait()
    reader.join()
    if running < chunk.end:
        findings.num_cases += 1
        tail = stderr.read_text(errors="replace")[-3000:]
        findings.faults.append(f"{chunk.corpus} {running}: hang or crash ({code}): {tail}")
    return findings, running + 1


def _read(process: subprocess.Popen[str], lines: "queue.SimpleQueue[str]") -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put("")


def _collect(lines: "queue.SimpleQueue[str]", chunk: Chunk) -> tuple[Findings, int]:
    """Returns what is told, and the case after which nothing was."""
    findings, running = Findings(), chunk.first
    while running < chunk.end:
        try:
            line = lines.get(timeout=_PATIENCE_SECS)
        except queue.Empty:
            break
        if not line:
            break
        told = json.loads(line)
        if "fault" in told:
            findings.faults.append(f"{chunk.corpus} {told['case']}: {told['fault']}")
        if "outcomes" in told:
            findings.outcomes.update(f"{chunk.corpus}: {each}" for each in told["outcomes"])
        if "outcomes" in told or "fault" in told:
            findings.num_cases += 1
            running = told["case"] + 1
    return findings, running

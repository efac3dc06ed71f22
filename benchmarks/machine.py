"""What the benchmarks need to know about the machine: its usable cores, its facts, and what a process costs on it."""

import importlib.metadata
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = ("tensorflow", "apache-beam", "pyarrow", "numpy", "tf-keras")


@dataclass(frozen=True, kw_only=True)
class ProcessRun:
    """How a finished process went, seen from outside."""

    exit_code: int
    wall_secs: float
    max_rss_mb: float
    stdout: str
    stderr: str


def usable_cores() -> int:
    """Returns the cores this process may use: its affinity, and the quota of its control group."""
    cores = len(os.sched_getaffinity(0))
    quota_file = Path("/sys/fs/cgroup/cpu.max")
    if not quota_file.exists():
        return cores
    quota, period = quota_file.read_text().split()
    return cores if quota == "max" else max(1, min(cores, int(quota) // int(period)))


def run_process(command: Sequence[str], env: Mapping[str, str] | None = None) -> ProcessRun:
    """Runs `command` at the repository's root and waits for it.

    The peak is that of the largest process in the tree, as the kernel reports it. The caller has to
    stay small: the kernel counts the memory of the process that forked as well.
    """
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=REPOSITORY, env=quiet_env(env), stdout=stdout, stderr=stderr
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        return ProcessRun(
            exit_code=process.returncode,
            wall_secs=time.perf_counter() - start,
            max_rss_mb=usage.ru_maxrss / 1024,
            stdout=_text_of(stdout),
            stderr=_text_of(stderr),
        )


def run_or_exit(command: Sequence[str], env: Mapping[str, str] | None = None) -> ProcessRun:
    """Like `run_process`, but ends this process with the command's last words if it failed."""
    run = run_process(command, env)
    if run.exit_code:
        last_words = (run.stderr or run.stdout)[-3000:]
        sys.exit(f"{' '.join(command)}\nended with exit code {run.exit_code}:\n{last_words}")
    return run


def quiet_env(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Returns this process's environment with TensorFlow's log lines off and no GPU in sight."""
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    return {**os.environ, **quiet, **(extra or {})}


def facts() -> list[str]:
    """Returns what a reader of the figures should know about the machine, one line each."""
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    return [
        f"{usable_cores()} usable cores ({_cpu_model()}), {memory_gib:.0f} GiB of memory",
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        versions,
    ]


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _text_of(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")

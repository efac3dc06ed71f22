"""Environments of rivals that pin other versions than this project; each is made on first use."""

import shutil
import sys
from pathlib import Path

from benchmarks import machine, report, workloads

HERE = Path(__file__).resolve().parent


def environment_python(name: str) -> Path:
    """Returns the interpreter of the environment that `requirements-<name>.txt` describes.

    Ends the process with the reason as its report where it cannot be installed.
    """
    requirements = HERE / f"requirements-{name}.txt"
    home = workloads.data_dir() / f"{name}-env"
    python = home / "bin" / "python"
    stamp = home / "installed.txt"
    if not stamp.exists() or stamp.read_text() != requirements.read_text():
        shutil.rmtree(home, ignore_errors=True)
        _install(name, home, python, requirements)
        shutil.copyfile(requirements, stamp)
    return python


def _install(name: str, home: Path, python: Path, requirements: Path) -> None:
    print(f"installing {name} into an environment of its own (minutes)", file=sys.stderr)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for command in ([sys.executable, "-m", "venv", str(home)], [*pip, "-r", str(requirements)]):
        run = machine.run_process(command)
        if run.exit_code:
            lines = [line for line in run.stderr.splitlines() if line.strip()]
            report.emit_skipped(f"{name} cannot be installed here: {lines[-1] if lines else '?'}")

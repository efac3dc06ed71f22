"""Jobs in processes of their own that start at once: forks of a process with all libraries imported.

The forks are real processes, which really can be killed. Nothing but imports has happened in the process that
is forked, so neither TensorFlow nor Beam has a thread that a fork would lack.

    python -m tests.robustness.job_server       reads requests, a line of JSON each, and answers likewise
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from tests.robustness.jobs import ROOT, Result

_PATIENCE_SECS = 120.0


class JobServer:
    """Runs jobs one after the other. A context manager."""

    def __init__(self, directory: Path) -> None:
        """Starts the server; `directory` is for what jobs print."""
        self._output = directory / "printed.txt"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.robustness.job_server"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self._process.stdin.close()
        self._process.wait(_PATIENCE_SECS)
        self._process.stdout.close()

    def run(self, args, *, fault=None, call_secs=0.0, kill_after_secs=None) -> Result:
        """Runs the command line to its end.

        Args:
            args: The arguments.
            fault: A `FileFault`, or None.
            call_secs: How much longer each call of a model takes.
            kill_after_secs: When it is killed, counted from the first call of a model.
        """
        request = {
            "args": list(args),
            "fault": None if fault is None else asdict(fault),
            "call_secs": call_secs,
            "kill_after_secs": kill_after_secs,
        }
        return self._answer(request)

    def call(self, function: str, *args: str) -> None:
        """Calls `package.module:function` with strings, where it may start TensorFlow."""
        result = self._answer({"function": function, "args": args})
        if result.code:
            raise AssertionError(f"{function}{args} failed: {result.err}")

    def _answer(self, request) -> Result:
        request = {**request, "output": str(self._output)}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        printed = self._output.read_text()
        return Result(code=code, out=printed, err=printed)


def _serve():
    importlib.import_module("pipelines.job_run").load_libraries()
    importlib.import_module("pipelines.precompute")
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            os._exit(_do(request))
        _, status = os.waitpid(pid, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _do(request):
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    signal.alarm(int(_PATIENCE_SECS))
    try:
        return _call(request) if "function" in request else _run(request)
    except BaseException:  # noqa: BLE001 - told to whoever asked
        traceback.print_exc()
        return 70
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _call(request):
    module, _, name = request["function"].partition(":")
    getattr(importlib.import_module(module), name)(*request["args"])
    return 0


def _run(request):
    from pipelines.cli import main
    from tests.robustness.file_faults import FileFault, file_fault

    _slow_down(request["call_secs"], request["kill_after_secs"])
    with ExitStack() as stack:
        if request["fault"] is not None:
            stack.enter_context(file_fault(FileFault(**request["fault"])))
        return main(request["args"])


def _slow_down(call_secs, kill_after_secs):
    from servable_core.servables.saved_model.replica import Replica

    call = Replica.call
    is_called = threading.Event()

    def slow(replica, signature_name, inputs):
        if kill_after_secs is not None and not is_called.is_set():
            is_called.set()
            threading.Thread(target=die, daemon=True).start()
        time.sleep(call_secs)
        return call(replica, signature_name, inputs)

    def die():
        time.sleep(kill_after_secs)
        os.kill(os.getpid(), signal.SIGKILL)

    Replica.call = slow


if __name__ == "__main__":
    _serve()

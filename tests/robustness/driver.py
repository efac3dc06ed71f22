"""The command line, in a process that kills itself before or after a given receipt is written.

ROBUSTNESS_KILL_AT_RECEIPT=3 ROBUSTNESS_KILL_WHEN=after python -m tests.robustness.driver precompute ...
"""

import os
import signal
import sys
import threading

from pipelines.cli import main
from transforms import process_unit

KILL_AT_RECEIPT = "ROBUSTNESS_KILL_AT_RECEIPT"  # counted from 1
KILL_WHEN = "ROBUSTNESS_KILL_WHEN"  # "before" (its part is committed already) or "after"

_lock = threading.Lock()
_num_receipts = 0
_write_receipt = process_unit.write_receipt


def _write_receipt_and_die(receipt, *place):
    global _num_receipts  # noqa: PLW0603 - counts over all threads of the process
    with _lock:  # held to the end, so that exactly as many receipts exist as the test wants
        _num_receipts += 1
        is_last = _num_receipts == int(os.environ[KILL_AT_RECEIPT])
        if is_last and os.environ[KILL_WHEN] == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        _write_receipt(receipt, *place)
        if is_last:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    process_unit.write_receipt = _write_receipt_and_die
    sys.exit(main())

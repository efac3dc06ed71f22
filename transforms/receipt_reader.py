"""The receipts of a whole job: listed at once, then each read once."""

import itertools
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from servable_core.runtime.executor import create_executor
from transforms.plan import Plan
from transforms.receipts import UNITS_DIRECTORY, Receipt, parse_receipt
from transforms.storage import file_system_for, is_local

_RECEIPT_NAME = re.compile(r"unit-([0-9]+)\.json")
_NUM_THREADS = 32
_BLOCK_FILES = 1024  # read ahead, at most


def create_reading_executor(output: str, name: str) -> Executor:
    """Returns what reads many small files of `output`: threads, where each waits for a store.

    Local files are read so quickly that threads would only wait for each other.
    """
    return create_executor(0 if is_local(output) else _NUM_THREADS, name)


def read_receipts(
    plan: Plan, output: str, is_wanted: Callable[[int], bool] = lambda _: True
) -> Iterator[Receipt]:
    """Yields the valid receipts of the wanted units in order, a few of them in memory at a time.

    Args:
        plan: The job's plan.
        output: Its output directory.
        is_wanted: Whether the receipt of a unit is to be read.

    Raises:
        Exception: What the store raised.
    """
    files = [each for each in _list_receipts(output, len(plan.units)) if is_wanted(each[0])]

    def read(file: tuple[int, str]) -> Receipt | None:
        return _read_one(plan, output, *file)

    last = -1
    with create_reading_executor(output, "receipts") as executor:
        for start in range(0, len(files), _BLOCK_FILES):
            for receipt in executor.map(read, files[start : start + _BLOCK_FILES]):
                if receipt is not None and receipt.unit != last:  # two names may be of one unit
                    last = receipt.unit
                    yield receipt


def _list_receipts(output: str, num_units: int) -> list[tuple[int, str]]:
    """Returns unit and path of every receipt; listing is one request, or some, not one for each."""
    directory = f"{output}/{UNITS_DIRECTORY}"
    found = ((_RECEIPT_NAME.fullmatch(name), name) for name in _names(directory))
    files = ((int(match[1]), f"{directory}/{name}") for match, name in found if match)
    return sorted(each for each in files if each[0] < num_units)


def _names(directory: str) -> Iterable[str]:
    if is_local(directory):
        path = Path(directory)
        return (each.name for each in path.iterdir()) if path.is_dir() else []
    files = file_system_for(directory).list_files(directory)
    return (each.path.rpartition("/")[2] for each in files)


def _read_one(plan: Plan, output: str, unit: int, path: str) -> Receipt | None:
    try:
        with file_system_for(path).open(path) as stream:
            content = stream.read()
    except FileNotFoundError:  # deleted since it was listed
        return None
    return parse_receipt(content, plan, plan.units[unit], output)


@dataclass(frozen=True, kw_only=True, slots=True)
class DoneUnits:
    """How far a job is.

    Attributes:
        units: Units with a valid receipt.
        rows: The input rows they have read.
        size_bytes: About how many bytes that was.
    """

    units: int = 0
    rows: int = 0
    size_bytes: int = 0


class ReceiptReader:
    """Which units of a job are done; reads receipts as they appear, each once. Thread-safe.

    Believes what it has read: a receipt that goes, or a part of it, is for the last stage to find.

    Attributes:
        plan: The job's plan.
    """

    def __init__(self, plan: Plan, output: str) -> None:
        self.plan = plan
        self._output = output
        self._lock = threading.Lock()
        self._is_done = bytearray(len(plan.units))  # Guarded by _lock; a byte for each unit.
        self._done = DoneUnits()  # Guarded by _lock.

    def refresh(self) -> DoneUnits:
        """Returns what is done, having read the receipts that are new since the last call.

        Raises:
            Exception: What the store raised; the next call goes on from there.
        """
        with self._lock:
            for receipt in read_receipts(self.plan, self._output, self._is_new):
                self._add(receipt)
            return self._done

    def pending(self) -> Iterator[int]:
        """Yields the units that were not done at the last refresh, in order."""
        with self._lock:
            is_done = bytes(self._is_done)
        yield from itertools.compress(range(len(is_done)), (not each for each in is_done))

    def _is_new(self, unit: int) -> bool:
        return not self._is_done[unit]

    def _add(self, receipt: Receipt) -> None:
        self._is_done[receipt.unit] = True
        self._done = DoneUnits(
            units=self._done.units + 1,
            rows=self._done.rows + receipt.rows_read,
            size_bytes=self._done.size_bytes + self.plan.units[receipt.unit].size_bytes,
        )

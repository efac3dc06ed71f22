"""What a job of very many units costs besides its units: seconds and memory of planning, resuming, finishing.

    python -m benchmarks.many_units --units 1000000

Units are made up: each has one part of one row and a receipt, written in the plainest way. What is measured is
what a launcher does with them, each step in a process of its own: cutting and writing the plan, reading it,
listing the pending units of a job that is half done, and the last stage. A million units take some 10 GB of disk.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from transforms.content_options import ContentOptions
from transforms.finalize import finalize
from transforms.plan import InputFile, PinnedModel, Plan
from transforms.plan_files import read_plan, write_plan
from transforms.process_unit import peak_rss_bytes
from transforms.receipt_reader import ReceiptReader
from transforms.receipts import OutputFile, Receipt, part_path, receipt_path
from transforms.unit_cutting import UnitBounds, cut_units
from transforms.unit_table import UnitRange, UnitTable

_LINE = b'{"id": 1, "score": 0.5}\n'
_STATISTICS = [
    "num_batches",
    "num_runs",
    "num_extra_runs",
    "num_rows",
    "num_slots",
    "num_tasks",
    "num_splits",
    "num_padding_rows",
    "num_cells",
    "num_padding_cells",
    "num_failed_rows",
    "num_rejections",
    "num_dropped",
    "run_secs",
    "queue_secs",
    "max_queue_secs",
]


def make_plan(num_units: int) -> Plan:
    """Returns a plan of so many units, each a row group of one of a hundred times fewer files."""
    pieces = (
        UnitRange(
            file_index=index // 100,
            first_group=index % 100,
            end_group=index % 100 + 1,
            first_row=index % 100 * 1000,
            num_rows=1,
            size_bytes=60_000_000 + index,
        )
        for index in range(num_units)
    )
    return Plan(
        models=(PinnedModel(name="m", version=1, path="/m/1", fingerprint="f"),),
        inputs=tuple(
            InputFile(path=f"/data/part-{index:06d}.parquet", size_bytes=6 * 10**9, mtime_secs=1e9)
            for index in range(num_units // 100 + 1)
        ),
        units=UnitTable.of(cut_units(pieces, UnitBounds())),
        content=ContentOptions(
            input_format="parquet",
            signature_name="serving_default",
            input_map=(),
            key="id",
            passthrough=(),
            output_tensors=(),
            preprocess=None,
            postprocess=None,
            deterministic_batch_size=None,
            deterministic_threads=None,
            output_format="jsonl",
        ),
        read_columns=("x",),
        features={},
        reads_records=False,
        batch_size_hint=4096,
        flags={},
    )


def write_units(output: str) -> None:
    """Writes a part and a receipt for each unit."""
    plan = _plan(output)
    receipts, num_units = Path(output, "_units"), len(plan.units)
    receipts.mkdir()
    Path(output, part_path("m", 1, 0, num_units)).parent.mkdir(parents=True)
    batching = {"m/1:serving_default": dict.fromkeys(_STATISTICS, 1)}
    batching["m/1:serving_default"] |= {"ceiling": None, "batch_size": None}
    batching["m/1:serving_default"]["shapes"] = [[256 << k, 0, 9, 9, 1.0] for k in range(10)]
    for unit in plan.units:
        path = part_path("m", 1, unit.index, num_units, ".jsonl")
        Path(output, path).write_bytes(_LINE)
        part = OutputFile(
            model_name="m",
            model_version=1,
            path=path,
            rows=1,
            size_bytes=len(_LINE),
            sha256=f"{unit.index:064x}",
        )
        receipt = Receipt(
            plan_id=plan.plan_id,
            unit=unit.index,
            rows_read=1,
            files=(part,),
            num_batches=1,
            started_secs=unit.index * 1.0,
            ended_secs=unit.index + 2.0,
            peak_rss_bytes=1,
            worker=f"worker-{unit.index % 64}",
            batching=batching,
            stage_secs={"read": 1.0, "write": 1.0, "wait_for_model": 1.0},
            num_batch_threads=4,
            command_line="run_pipeline.py precompute --model_base_path=/m",
            packages={"python": "3.11", "tensorflow": "2.21", "pyarrow": "25"},
        )
        content = json.dumps(_document(receipt), indent=1)
        Path(receipt_path(output, unit.index, num_units)).write_text(content)


def _document(receipt: Receipt) -> dict[str, object]:
    names = [name for name in Receipt.__slots__ if name != "files"]
    part = receipt.files[0]
    files = [{name: getattr(part, name) for name in OutputFile.__slots__}]
    return {**{name: getattr(receipt, name) for name in names}, "files": files}


def _plan(output: str) -> Plan:
    plan = read_plan(output)
    if plan is None:
        raise FileNotFoundError(f"no plan in {output}")
    return plan


def list_pending(output: str) -> None:
    """Lists the units without a receipt, as the first stage of a resumed job does."""
    plan = _plan(output)
    reader = ReceiptReader(plan, output)
    reader.refresh()
    assert not list(reader.pending())


STEPS: Mapping[str, Callable[[str], object]] = {
    "read the plan": _plan,
    "(write parts and receipts)": write_units,
    "list what is pending": list_pending,
    "the last stage": lambda output: finalize(_plan(output), output),
}


def _run_here(step: str, output: str, num_units: int) -> None:
    before = peak_rss_bytes()
    started = time.perf_counter()
    if step == "make and write the plan":
        write_plan(make_plan(num_units), output)
    else:
        STEPS[step](output)
    secs = time.perf_counter() - started
    mib = (peak_rss_bytes() - before) / 2**20
    print(f"{step:<28} {secs:8.1f} s  {mib:8,.0f} MiB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=100_000)
    parser.add_argument("--directory", default=tempfile.gettempdir())
    parser.add_argument("--step", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        _run_here(args.step, args.directory, args.units)
        return
    with tempfile.TemporaryDirectory(dir=args.directory) as output:
        for step in ("make and write the plan", *STEPS):
            command = [sys.executable, "-m", "benchmarks.many_units", f"--units={args.units}"]
            subprocess.run([*command, f"--directory={output}", f"--step={step}"], check=True)


if __name__ == "__main__":
    main()

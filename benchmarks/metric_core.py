"""The core of evaluation: rows a second on one thread, and memory with very many slices.

    python -m benchmarks.metric_core

Prints the figures and writes them to `metric_core.md` beside this file. The unit of cost is
`np.bincount`: one per slice dimension, of all rows, by slice and block.
"""

import gc
import multiprocessing
import os
import resource
import statistics
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import numpy as np
import pyarrow as pa

from benchmarks.machine import facts
from transforms.metrics import (
    Accumulator,
    EvaluationBatch,
    EvaluationOptions,
    Task,
    create_evaluation,
    key_blocks,
)

PAGE = Path(__file__).with_suffix(".md")
NUM_BLOCKS = 32
OPTIONS = EvaluationOptions(task=Task.BINARY, num_versions=2, num_blocks=NUM_BLOCKS)
NUM_REPEATS = 5

SPEED_ROWS, SPEED_BATCH = 1 << 21, 1 << 19
# All rows, 19 countries, 4 devices, and their cross: 100 slices.
COUNTRIES, DEVICES = 19, 4
# Or three columns that have nothing to do with each other: 100 slices too.
APART = (19, 4, 76)

MEMORY_ROWS, MEMORY_BATCH = 10_000_000, 1 << 18
# All rows and three columns: 10,000 slices.
MANY = (3333, 3333, 3333)


def crossed(rng: np.random.Generator, rows: int) -> np.ndarray:
    country, device = rng.integers(0, COUNTRIES, rows), rng.integers(0, DEVICES, rows)
    first = 1 + COUNTRIES + DEVICES
    cross = first + country * DEVICES + device
    return np.stack([np.zeros(rows, int), 1 + country, 1 + COUNTRIES + device, cross], axis=1)


def independent(rng: np.random.Generator, rows: int, sizes: tuple[int, ...]) -> np.ndarray:
    firsts = np.cumsum([1, *sizes[:-1]])
    columns = [
        first + rng.integers(0, size, rows) for first, size in zip(firsts, sizes, strict=True)
    ]
    return np.stack([np.zeros(rows, int), *columns], axis=1)


def batch(rng: np.random.Generator, slice_ids: np.ndarray, first: int) -> EvaluationBatch:
    """Returns rows of a model and of a related, better one, as float32 scores."""
    rows = len(slice_ids)
    labels = (rng.random(rows) < 0.1).astype(np.float64)
    shared, own = rng.normal(size=rows), rng.normal(size=(2, rows))
    logits = np.array([[1.5], [1.7]]) * labels + shared + 0.3 * own - 2.5
    keys = pa.array(np.arange(first, first + rows))
    return EvaluationBatch(
        predictions=(1 / (1 + np.exp(-logits))).astype(np.float32),
        slice_ids=slice_ids,
        blocks=key_blocks(keys, NUM_BLOCKS),
        labels=labels,
        example_keys=keys,
    )


def secs_of(work) -> float:
    gc.collect()
    started = perf_counter()
    work()
    return perf_counter() - started


def measure(batches: list[EvaluationBatch]) -> None:
    evaluation = create_evaluation(OPTIONS)
    states = Accumulator(evaluation)
    for each in batches:
        states.add(evaluation.update(each))
    states.merged()


def count(keys: list[list[np.ndarray]], num_slices: int, weights: np.ndarray | None) -> None:
    for of_batch in keys:
        for each in of_batch:
            np.bincount(each, weights, minlength=num_slices * NUM_BLOCKS)


def speed(name: str, slices_of) -> Iterator[str]:
    rng = np.random.default_rng(0)
    batches = [
        batch(rng, slices_of(rng, SPEED_BATCH), first)
        for first in range(0, SPEED_ROWS, SPEED_BATCH)
    ]
    num_slices = 1 + max(int(each.slice_ids.max()) for each in batches)
    keys = [[column * NUM_BLOCKS + each.blocks for column in each.slice_ids.T] for each in batches]
    weights = rng.random(SPEED_BATCH)
    ours, counts, sums = [], [], []
    for _ in range(NUM_REPEATS + 1):  # the first is thrown away
        # A batch remembers where its slices are, so it is made anew.
        fresh = [each.where(np.arange(each.num_rows) >= 0) for each in batches]
        fresh = [
            EvaluationBatch(**{f: getattr(each, f) for f in each.__dataclass_fields__})
            for each in fresh
        ]
        ours.append(secs_of(lambda: measure(fresh)))
        counts.append(secs_of(lambda: count(keys, num_slices, None)))
        sums.append(secs_of(lambda: count(keys, num_slices, weights)))
    ns, count_ns, sum_ns = (
        statistics.median(each[1:]) / SPEED_ROWS * 1e9 for each in (ours, counts, sums)
    )
    yield (
        f"| {name} | {1e3 / ns:.2f} | {ns:,.0f} | {count_ns:.1f} | {ns / count_ns:.1f} | {sum_ns:.1f} | {ns / sum_ns:.1f} |"
    )


def memory() -> tuple[float, float, float, int]:
    """Returns peak GB of this process, what it had before, seconds, and slices told of."""
    before = peak_gb()
    evaluation = create_evaluation(OPTIONS)
    states = Accumulator(evaluation)
    rng = np.random.default_rng(0)
    started = perf_counter()
    for first in range(0, MEMORY_ROWS, MEMORY_BATCH):
        rows = min(MEMORY_BATCH, MEMORY_ROWS - first)
        states.add(evaluation.update(batch(rng, independent(rng, rows, MANY), first)))
    merged = states.merged()
    del states
    tables = evaluation.to_tables(merged)
    slices = evaluation.slices(merged)
    for slice_id in slices[::1000]:
        list(evaluation.finalise(merged, slice_id))
    secs = perf_counter() - started
    assert tables
    return peak_gb(), before, secs, len(slices)


def peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def page() -> Iterator[str]:
    yield "## The core of evaluation"
    yield (
        f"\nTwo versions of a binary model, {OPTIONS.num_blocks} blocks, all metrics, no weights; one thread; medians of {NUM_REPEATS}."
    )
    yield "\n" + "\n".join(f"- {each}" for each in facts()) + "\n"
    yield (
        "| 100 slices, 4 of each row | million rows/s | ns for a row | `np.bincount` per slice dimension, ns | ratio | the same with weights, ns | ratio |"
    )
    yield "|---|---|---|---|---|---|---|"
    yield from speed("all, country, device, country x device", crossed)
    yield from speed(
        "all, three unrelated columns", lambda rng, rows: independent(rng, rows, APART)
    )
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        peak, before, secs, slices = pool.apply(memory)
    yield (
        f"\n{slices:,} slices and {MEMORY_ROWS:,} rows in 4 of them each: peak memory {peak:.2f} GB ({before:.2f} GB before the first row), {secs:.0f} s to make the rows, update, merge, make tables and finalise every 1000th slice."
    )


def main() -> None:
    lines = list(page())
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(PAGE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()

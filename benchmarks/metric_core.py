"""The core of evaluation: rows a second on one thread, and memory with very many slices.

    python -m benchmarks.metric_core

Ours and the yardsticks take turns; figures are medians. Prints them and writes them to
`metric_core.md` beside this file.
"""

import multiprocessing
import re
import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
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
from transforms.metrics.float_bins import Scale, num_bins, to_bins, to_ordered_bits

PAGE = Path(__file__).with_suffix(".md")
NUM_BLOCKS = 32
OPTIONS = EvaluationOptions(task=Task.BINARY, num_versions=2, num_blocks=NUM_BLOCKS)
NUM_REPEATS = 7
MANTISSA_BITS = 5

NUM_BATCHES, BATCH_ROWS = 4, 1 << 19
# With all rows 100 slices: of 19 countries, 4 devices and their cross; or of columns that have
# nothing to do with each other.
NUM_COUNTRIES, NUM_DEVICES = 19, 4
UNRELATED = (19, 4, 76)

MANY_ROWS, MANY_BATCH_ROWS = 10_000_000, 1 << 18
MANY = (3333, 3333, 3333)  # 10,000 slices with all rows

Slices = Callable[[np.random.Generator, int], np.ndarray]  # gives [rows, slices of a row]


def crossed(source: np.random.Generator, rows: int) -> np.ndarray:
    country = source.integers(0, NUM_COUNTRIES, rows)
    device = source.integers(0, NUM_DEVICES, rows)
    first = 1 + NUM_COUNTRIES + NUM_DEVICES
    columns = [1 + country, 1 + NUM_COUNTRIES + device, first + country * NUM_DEVICES + device]
    return np.stack([np.zeros(rows, dtype=np.int64), *columns]).T  # as a slice catalog makes them


def unrelated(sizes: tuple[int, ...], source: np.random.Generator, rows: int) -> np.ndarray:
    firsts = np.cumsum([1, *sizes[:-1]])
    columns = [
        first + source.integers(0, size, rows) for first, size in zip(firsts, sizes, strict=True)
    ]
    return np.stack([np.zeros(rows, dtype=np.int64), *columns]).T


def batch(source: np.random.Generator, slice_ids: np.ndarray, first: int) -> EvaluationBatch:
    """Returns rows with the scores of a model and of a related, better one."""
    rows = len(slice_ids)
    labels = (source.random(rows) < 0.1).astype(np.float64)
    shared, own = source.normal(size=rows), source.normal(size=(2, rows))
    logits = np.array([[1.5], [1.7]]) * labels + shared + 0.3 * own - 2.5
    keys = pa.array(np.arange(first, first + rows))
    return EvaluationBatch(
        predictions=(1 / (1 + np.exp(-logits))).astype(np.float32),
        slice_ids=slice_ids,
        blocks=key_blocks(keys, NUM_BLOCKS),
        labels=labels,
        example_keys=keys,
    )


def measure(batches: list[EvaluationBatch]) -> None:
    """Updates and merges; what a batch remembers of its slices is found anew."""
    evaluation = create_evaluation(OPTIONS)
    states = Accumulator(evaluation)
    for each in batches:
        states.add(evaluation.update(replace(each)))
    states.merged()


def count(cells: list[np.ndarray]) -> None:
    for each in cells:
        np.bincount(each)


def cells_of(batches: list[EvaluationBatch]) -> list[np.ndarray]:
    """Returns for each slice dimension of each batch its slice and block."""
    return [column * NUM_BLOCKS + each.blocks for each in batches for column in each.slice_ids.T]


def bins_of(batches: list[EvaluationBatch]) -> list[np.ndarray]:
    """Returns for each the slice, block and label, and the bin of the first version's score."""
    found = []
    for each in batches:
        ordered = to_ordered_bits(each.predictions[0])
        bins = to_bins(ordered, Scale.PROBABILITY, MANTISSA_BITS).astype(np.int64)
        for cells in cells_of([each]):
            place = cells * 2 + each.known_labels().astype(np.int64)
            found.append(place * num_bins(Scale.PROBABILITY, MANTISSA_BITS) + bins)
    return found


def speed(name: str, slices: Slices) -> str:
    source = np.random.default_rng(0)
    batches = [
        batch(source, slices(source, BATCH_ROWS), index * BATCH_ROWS)
        for index in range(NUM_BATCHES)
    ]
    works = {
        "ours": partial(measure, batches),
        "cells": partial(count, cells_of(batches)),
        "bins": partial(count, bins_of(batches)),
    }
    secs: dict[str, list[float]] = {each: [] for each in works}
    for _ in range(NUM_REPEATS + 1):  # the first is thrown away
        for each, work in works.items():
            started = perf_counter()
            work()
            secs[each].append(perf_counter() - started)
    rows = NUM_BATCHES * BATCH_ROWS
    ours, cells, bins = (statistics.median(each[1:]) / rows * 1e9 for each in secs.values())
    return f"| {name} | {1e3 / ours:.2f} | {ours:,.0f} | {cells:.1f} | {ours / cells:.0f} | {bins:.1f} | {ours / bins:.1f} |"


def peak_gb() -> float:
    """Returns the most memory that this process has had; `getrusage` may tell of its parent's."""
    (kilobytes,) = re.findall(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(kilobytes) * 1024 / 1e9


def many_slices() -> str:
    """Evaluates very many slices in this process; returns what it took."""
    before = peak_gb()
    evaluation = create_evaluation(OPTIONS)
    states = Accumulator(evaluation)
    source = np.random.default_rng(0)
    started = perf_counter()
    for first in range(0, MANY_ROWS, MANY_BATCH_ROWS):
        rows = min(MANY_BATCH_ROWS, MANY_ROWS - first)
        states.add(evaluation.update(batch(source, unrelated(MANY, source, rows), first)))
    merged = states.merged()
    del states
    tables = evaluation.to_tables(merged)
    slices = evaluation.slices(merged)
    values = sum(1 for each in slices[::1000] for _ in evaluation.finalise(merged, each))
    secs = perf_counter() - started
    table_gb = sum(each.nbytes for each in tables.values()) / 1e9
    return f"""{len(slices):,} slices and {MANY_ROWS:,} rows, each in 4 of them: peak memory {peak_gb():.2f} GB, of which {before:.2f} GB before
the first row. {secs:.0f} s to make the rows, update, merge, make the tables ({table_gb:.2f} GB) and finalise every
1000th slice ({values:,} numbers)."""


def page() -> Iterator[str]:
    yield "## The core of evaluation"
    yield f"""
Two versions of a binary model, {NUM_BLOCKS} blocks, all metrics, no weights, 100 slices of which each row is in 4; one
thread, {NUM_BATCHES * BATCH_ROWS:,} rows. The yardsticks are one `np.bincount` per slice dimension, its keys made before: A by
slice and block; B by slice, block, label and bin of one version's score, as for one histogram.
"""
    yield "\n".join(f"- {each}" for each in facts())
    yield "\n| slices | million rows/s | ns for a row | A, ns | ratio | B, ns | ratio |\n|---|---|---|---|---|---|---|"
    yield speed("all, country, device, country and device", crossed)
    yield speed("all, three unrelated columns", partial(unrelated, UNRELATED))
    with multiprocessing.get_context("spawn").Pool(1) as pool:  # whose memory is its own
        yield "\n" + pool.apply(many_slices)


def main() -> None:
    lines = list(page())
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(PAGE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()

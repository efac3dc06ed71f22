"""Cost of `with manager.get_servable_handle(...)`: alone, with eight threads, and while a model loads.

    python -m benchmarks.servable_handle

Prints the figures and writes them to `servable_handle.md` beside this file.
"""

import statistics
import sys
import tempfile
import threading
import timeit
from array import array
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from time import perf_counter_ns

import numpy as np

from benchmarks.machine import facts
from servable_core.lifecycle import ServableData, ServableId, ServableRequest, SimpleLoader
from servable_core.managers import AspiredVersionsManager, AspiredVersionsManagerOptions
from servable_core.runtime.file_system import LocalFileSystem
from servable_core.servables.saved_model.loader import create_saved_model_loader
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow

PAGE = Path(__file__).with_suffix(".md")
NUM_LOOKUPS = 100_000
NUM_THREADS = 8
NUM_LOADS = 10
NUM_VARIABLES, ROWS, COLUMNS = 50, 2500, 1000  # 10 MB each, 500 MB together
REQUEST = ServableRequest.latest("model")
IDLE_SECS = 1.0
PATIENCE_SECS = 300.0


def look_up(manager):
    """Times look-ups of one thread; returns microseconds of one, including the loop around it."""

    def once():
        with manager.get_servable_handle(REQUEST, str) as handle:
            handle.servable  # noqa: B018 - what is timed

    return timeit.timeit(once, number=NUM_LOOKUPS) / NUM_LOOKUPS * 1e6


def look_up_together(manager):
    """Times look-ups of eight threads; returns wall-clock microseconds for each of them all."""
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        started = timeit.default_timer()
        list(pool.map(look_up, [manager] * NUM_THREADS))
        return (timeit.default_timer() - started) / (NUM_THREADS * NUM_LOOKUPS) * 1e6


def sample(manager, stop):
    """Times every single look-up until `stop`; returns microseconds, the clock's own included."""
    nanoseconds = array("q")
    while not stop.is_set():
        started = perf_counter_ns()
        with manager.get_servable_handle(REQUEST, str) as handle:
            handle.servable  # noqa: B018 - what is timed
        nanoseconds.append(perf_counter_ns() - started)
    return np.frombuffer(nanoseconds, np.int64) / 1e3


def sample_during(manager, work):
    """Runs `work` on this thread and samples look-ups on another one meanwhile."""
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        samples = pool.submit(sample, manager, stop)
        work()
        stop.set()
        return samples.result()


def aspire(manager, servable_id, loader):
    """Has `manager` load a servable; returns when it is available."""
    manager.set_aspired_versions(servable_id.name, [ServableData.of(servable_id, loader)])
    manager.wait_until_available([servable_id], PATIENCE_SECS)


def save_large_model(path):
    """Writes a SavedModel of 500 MB."""
    tf = import_tensorflow()
    module = tf.Module()
    module.tables = [tf.Variable(tf.ones([ROWS, COLUMNS])) for _ in range(NUM_VARIABLES)]

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32)])
    def call(row):
        return {"y": tf.add_n([tf.reduce_sum(tf.gather(t, row), axis=1) for t in module.tables])}

    tf.saved_model.save(module, path, signatures={"serving_default": call})


def load_version(manager, path, version):
    """Loads the model as one version more, which replaces the one before it."""
    servable_id = ServableId("large", version)
    aspire(
        manager,
        servable_id,
        create_saved_model_loader(servable_id, path, LocalFileSystem(), None),
    )


def sample_loads(manager, path):
    """Returns samples without and with a load, taken in turn, and the seconds of one load."""
    idle, loading, secs = [], [], 0.0
    for version in range(1, NUM_LOADS + 1):
        idle.append(sample_during(manager, lambda: threading.Event().wait(IDLE_SECS)))
        load = partial(load_version, manager, path, version)
        started = timeit.default_timer()
        loading.append(sample_during(manager, load))
        secs += timeit.default_timer() - started
    return np.concatenate(idle), np.concatenate(loading), secs / NUM_LOADS


def measure(path):
    """Returns the cost alone, with eight threads, and what `sample_loads` does."""
    options = AspiredVersionsManagerOptions(num_load_threads=1, num_unload_threads=1)
    with AspiredVersionsManager(options=options) as manager:
        aspire(manager, ServableId("model", 1), SimpleLoader(lambda: "servable"))
        alone = statistics.median(look_up(manager) for _ in range(7))
        return alone, look_up_together(manager), *sample_loads(manager, path)


def row(label, samples):
    """Returns a line of the table of samples."""
    median, tail = np.percentile(samples, [50, 99.9])
    return (
        f"| {label} | {len(samples):,} | {median:.2f} | {tail:.2f} | {samples.max() / 1e3:,.1f} |"
    )


def page(alone, together, idle, loading, secs):
    """Returns the figures as a section in Markdown."""
    return f"""## The cost of a handle

`with manager.get_servable_handle(request, type) as handle: handle.servable`, on

{chr(10).join(f"- {fact}" for fact in facts())}

| | microseconds for each |
|---|---|
| one thread | {alone:.2f} |
| {NUM_THREADS} threads, wall-clock | {together:.2f} |

While a SavedModel of {NUM_VARIABLES * ROWS * COLUMNS * 4 / 1e6:.0f} MB is loaded and unloaded {NUM_LOADS} times by the same manager, {secs:.2f} s each;
every look-up timed by itself, the clock's cost included:

| | look-ups | median, us | 99.9 %, us | maximum, ms |
|---|---|---|---|---|
{row("nothing loads", idle)}
{row("the model loads", loading)}

Look-ups take no lock. The tail is mostly Python's interpreter lock: a load runs Python too, and a thread
that wants the lock waits up to {sys.getswitchinterval() * 1e3:.0f} ms (`sys.getswitchinterval()`), or until a call into TensorFlow that keeps
it returns. The maximum differs from run to run: 19 to 130 ms in five on a busy machine, 8.5 ms with
`sys.setswitchinterval(0.0005)`.
"""


def main():
    """Measures, prints and writes the page."""
    with tempfile.TemporaryDirectory() as path:
        save_large_model(path)
        text = page(*measure(path))
    PAGE.write_text(text)
    print(text)


if __name__ == "__main__":
    main()

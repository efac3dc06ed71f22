"""Cost of `with manager.get_servable_handle(...)`: alone, and with eight threads at a time."""

import statistics
import timeit
from concurrent.futures import ThreadPoolExecutor

from servable_core.lifecycle import ServableData, ServableId, ServableRequest, SimpleLoader
from servable_core.managers import AspiredVersionsManager

NUM_LOOKUPS = 100_000
REQUEST = ServableRequest.latest("model")


def look_up(manager):
    """Times look-ups of one thread; returns microseconds of one, including the loop around it."""

    def once():
        with manager.get_servable_handle(REQUEST, str) as handle:
            handle.servable  # noqa: B018 - what is timed

    return timeit.timeit(once, number=NUM_LOOKUPS) / NUM_LOOKUPS * 1e6


def main():
    """Prints the median of seven runs, and the cost per look-up with eight threads."""
    with AspiredVersionsManager() as manager, ThreadPoolExecutor(8) as pool:
        servable_id = ServableId("model", 1)
        loader = SimpleLoader(lambda: "servable")
        manager.set_aspired_versions("model", [ServableData.of(servable_id, loader)])
        manager.wait_until_available([servable_id])
        alone = statistics.median(look_up(manager) for _ in range(7))
        started = timeit.default_timer()
        list(pool.map(look_up, [manager] * 8))
        together = (timeit.default_timer() - started) / (8 * NUM_LOOKUPS) * 1e6
    print(f"uncontended {alone:.2f} us, 8 threads {together:.2f} us per look-up")


if __name__ == "__main__":
    main()

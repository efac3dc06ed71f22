"""Swaps versions of a model as a server does, and watches the memory; runs in a process of its own."""

from pathlib import Path

import numpy as np

from servable_core.lifecycle import (
    Loader,
    ManagerState,
    ServableData,
    ServableId,
    ServableRequest,
    ServableState,
)
from servable_core.managers import AspiredVersionsManager, ServableStateMonitor
from servable_core.runtime.event_bus import EventBus
from servable_core.runtime.file_system import LocalFileSystem
from servable_core.servables.saved_model.bundle import SavedModelBundle
from servable_core.servables.saved_model.loader import create_saved_model_loader
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from tests.models import save_signatures

NAME = "table"
ROWS, COLUMNS, NUM_TABLES = 2500, 1000, 4  # 10 MB each
MODEL_BYTES = 4 * ROWS * COLUMNS * NUM_TABLES
_PATIENCE_SECS = 60.0


def save_tables(base_path: Path, version: int) -> str:
    """`row` int32 [None] -> `total` [None]: a model of 40 MB, whose every value is its version."""
    tf = import_tensorflow()
    tables = [tf.Variable(np.full((ROWS, COLUMNS), version, np.float32)) for _ in range(NUM_TABLES)]

    def call(row):
        return {"total": tf.add_n([tf.reduce_sum(tf.gather(each, row), axis=1) for each in tables])}

    specs = {"row": tf.TensorSpec([None], tf.int32)}
    return save_signatures(base_path, version, {"serving_default": (call, specs)}, tables)


def swap(paths: list[str], num_swaps: int) -> list[int]:
    """Serves the models at `paths` in turn, each as a newer version.

    Returns:
        Resident bytes before the first version, after each swap, and after the manager is closed.
    """
    import_tensorflow()
    resident = [_resident_bytes()]
    bus = EventBus[ServableState]()
    with ServableStateMonitor(bus) as monitor:
        with AspiredVersionsManager(event_bus=bus) as manager:
            for version in range(1, num_swaps + 1):
                _serve(manager, monitor, version, paths[version % len(paths)])
                resident.append(_resident_bytes())
        resident.append(_resident_bytes())
    return resident


def _serve(
    manager: AspiredVersionsManager, monitor: ServableStateMonitor, version: int, path: str
) -> None:
    """Returns when `version` has answered and the one before it is gone."""
    servable_id = ServableId(NAME, version)
    loader: Loader[SavedModelBundle] = create_saved_model_loader(
        servable_id, path, LocalFileSystem(), None
    )
    manager.set_aspired_versions(NAME, [ServableData.of(servable_id, loader)])
    manager.wait_until_available([servable_id], _PATIENCE_SECS)
    with manager.get_servable_handle(ServableRequest.latest(NAME), SavedModelBundle) as handle:
        inputs = {"row": np.array([0, ROWS - 1], np.int32)}
        outputs = handle.servable.predict("serving_default", inputs, ["total"])
    assert outputs["total"].tolist() == [int(Path(path).name) * COLUMNS * NUM_TABLES] * 2
    if version > 1:
        before = ServableRequest.specific(NAME, version - 1)
        monitor.wait_until_reached([before], goal=ManagerState.END, timeout_secs=_PATIENCE_SECS)


def _resident_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    (line,) = [each for each in status.splitlines() if each.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024

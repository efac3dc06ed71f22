"""Cases of damaged models: loaded and called, or refused."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from servable_core.errors import ServableCoreError
from servable_core.sources.version_selection import parse_version_policy
from tests.fuzz import mutations
from tests.fuzz.cases import EXECUTION, BrokenPromiseError, check_message, seeded
from tests.fuzz.corpora import columns
from transforms.model_versions import resolve_models
from transforms.worker_core import WorkerCore, WorkerCoreConfig

FILES = (
    "saved_model.pb",
    "variables/variables.index",
    "variables/variables.data-00000-of-00001",
    "fingerprint.pb",
)


class ModelCases:
    """Damages one file of a copy of a model, then plans with it, loads and calls it."""

    def __init__(self, model: str, scratch: Path) -> None:
        self._model = Path(model)
        self._scratch = scratch

    def run(self, corpus: str, number: int) -> Iterator[str]:
        """Runs a case, and yields how it ended.

        Raises:
            BrokenPromiseError: Not as it should.
        """
        rng = seeded(corpus, number)
        shutil.rmtree(self._scratch, ignore_errors=True)
        copy = self._scratch / self._model.name
        shutil.copytree(self._model, copy)
        name = FILES[int(rng.integers(len(FILES)))]
        damaged = copy / "1" / name
        mutation = mutations.ANYWHERE[int(rng.integers(len(mutations.ANYWHERE)))]
        damaged.write_bytes(mutation(damaged.read_bytes(), rng))
        try:
            yield self._use(copy)
        except ServableCoreError as error:
            check_message(error)
            yield type(error).__name__

    def _use(self, base_path: Path) -> str:
        (model,) = resolve_models(str(base_path), None, parse_version_policy("latest"))
        config = WorkerCoreConfig(models=(model.pinned,), execution=EXECUTION)
        given = columns()
        with WorkerCore(config) as core:
            inputs = {name: given[name] for name in ("a", "b", "s")}
            (scores,) = core.predict(model.pinned, "serving_default", inputs, ["score"]).values()
        if np.shape(scores) != np.shape(given["a"]):
            raise BrokenPromiseError(f"the outputs have the shape {np.shape(scores)}")
        return "outputs"

    def close(self) -> None:
        """Nothing is held between cases."""

"""SavedModels as a platform: TensorFlow is imported when the first one is loaded."""

import re
from collections.abc import Mapping

from servable_core.lifecycle.loader import Loader
from servable_core.lifecycle.servable_id import ServableId
from servable_core.runtime.file_system import FileInfo, FileSystem
from servable_core.servables.platform import Platform
from servable_core.servables.saved_model.bundle import SavedModelBundle
from servable_core.servables.saved_model.loader import create_saved_model_loader
from servable_core.servables.saved_model.options import SavedModelOptions
from servable_core.servables.saved_model.structure import GRAPH_FILE
from servable_core.servables.saved_model.warmup import WarmupOptions

_DEFAULT_OPTIONS = SavedModelOptions()
_VARIABLES_INDEX = "variables/variables.index"
_SHARD = re.compile(r"variables/variables\.data-(\d+)-of-(\d+)")


def find_missing(files: Mapping[str, FileInfo]) -> str | None:
    """Returns what a version directory lacks to be a SavedModel, or None.

    From names alone: that the graph parses, and that variables are as long as they should be, is
    checked when it is loaded.
    """
    for required in (GRAPH_FILE, *_required_variables(files)):
        if required not in files:
            return f"it has no {required}"
    return None


def _required_variables(files: Mapping[str, FileInfo]) -> list[str]:
    """Returns all files of variables that there must be, given that there is one."""
    shards = [match for name in files if (match := _SHARD.fullmatch(name))]
    if not shards:
        return ["variables/variables.data-00000-of-00001"] if _VARIABLES_INDEX in files else []
    total = shards[0][2]
    return [
        _VARIABLES_INDEX,
        *(f"variables/variables.data-{i:05d}-of-{total}" for i in range(int(total))),
    ]


def saved_model_platform(
    warmup: WarmupOptions, options: SavedModelOptions = _DEFAULT_OPTIONS
) -> Platform:
    """Returns the platform whose models are loaded and warmed up like this."""

    def create_loader(
        servable_id: ServableId, path: str, file_system: FileSystem
    ) -> Loader[SavedModelBundle]:
        return create_saved_model_loader(
            servable_id, path, file_system, None, options=options, warmup=warmup
        )

    return Platform(name="tensorflow", create_loader=create_loader, find_missing=find_missing)


PLATFORM = saved_model_platform(WarmupOptions())

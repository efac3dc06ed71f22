"""Managers: they own loaders, load and unload servables, and hand out handles."""

from servable_core.managers.aspired_versions_manager import (
    AspiredVersionsManager as AspiredVersionsManager,
)
from servable_core.managers.aspired_versions_manager import (
    AspiredVersionsManagerOptions as AspiredVersionsManagerOptions,
)
from servable_core.managers.aspired_versions_manager import VersionOutcomes as VersionOutcomes
from servable_core.managers.basic_manager import BasicManager as BasicManager
from servable_core.managers.basic_manager_options import (
    BasicManagerOptions as BasicManagerOptions,
)
from servable_core.managers.caching_manager import CachingManager as CachingManager
from servable_core.managers.caching_manager import (
    CachingManagerOptions as CachingManagerOptions,
)
from servable_core.managers.caching_manager import LoaderFactory as LoaderFactory
from servable_core.managers.loader_harness import LoaderHarness as LoaderHarness
from servable_core.managers.manager import Manager as Manager
from servable_core.managers.manager_statistics import ManagerStatistics as ManagerStatistics
from servable_core.managers.servable_state_monitor import (
    ServableStateMonitor as ServableStateMonitor,
)
from servable_core.managers.servable_state_monitor import StatesReached as StatesReached
from servable_core.managers.serving_map import ServedServable as ServedServable
from servable_core.managers.serving_map import ServingMap as ServingMap
from servable_core.managers.static_manager import StaticManager as StaticManager

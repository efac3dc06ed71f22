"""Where aspired versions come from: version selection, version directories, the sources."""

from servable_core.sources.file_system_source import (
    FileSystemStoragePathSource as FileSystemStoragePathSource,
)
from servable_core.sources.file_system_source import (
    FileSystemStoragePathSourceOptions as FileSystemStoragePathSourceOptions,
)
from servable_core.sources.prefix_storage_path_source_adapter import (
    PrefixStoragePathSourceAdapter as PrefixStoragePathSourceAdapter,
)
from servable_core.sources.static_source import StaticStoragePathSource as StaticStoragePathSource
from servable_core.sources.storage_path_versions import VersionDirectory as VersionDirectory
from servable_core.sources.version_selection import AllVersions as AllVersions
from servable_core.sources.version_selection import LatestVersions as LatestVersions
from servable_core.sources.version_selection import SpecificVersions as SpecificVersions
from servable_core.sources.version_selection import VersionPolicy as VersionPolicy
from servable_core.sources.version_selection import parse_version_policy as parse_version_policy
from servable_core.sources.version_selection import select_versions as select_versions
from servable_core.sources.watched_servable import StoragePathStatus as StoragePathStatus
from servable_core.sources.watched_servable import WatchedServable as WatchedServable

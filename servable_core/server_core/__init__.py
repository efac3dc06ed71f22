"""The core that batch jobs, streaming jobs and servers share: models in, handles out."""

from servable_core.server_core.model_spec import ModelSpec as ModelSpec
from servable_core.server_core.model_status import ModelStatus as ModelStatus
from servable_core.server_core.model_status import VersionStatus as VersionStatus
from servable_core.server_core.options import ServerCoreOptions as ServerCoreOptions
from servable_core.server_core.pinned_models import PinnedModels as PinnedModels
from servable_core.server_core.server_core import ServerCore as ServerCore

"""Orders of loading and unloading, as pure functions of what is loaded and what is aspired."""

from servable_core.policies.aspired_version_policy import Action as Action
from servable_core.policies.aspired_version_policy import (
    AspiredVersionPolicy as AspiredVersionPolicy,
)
from servable_core.policies.aspired_version_policy import ServableAction as ServableAction
from servable_core.policies.aspired_version_policy import (
    highest_aspired_new as highest_aspired_new,
)
from servable_core.policies.availability_preserving import (
    AvailabilityPreservingPolicy as AvailabilityPreservingPolicy,
)
from servable_core.policies.resource_preserving import (
    ResourcePreservingPolicy as ResourcePreservingPolicy,
)

"""What servables need and what there is: quantities of memory and the like, on devices."""

from servable_core.resources.resource_allocation import EMPTY as EMPTY
from servable_core.resources.resource_allocation import MAIN as MAIN
from servable_core.resources.resource_allocation import RAM_BYTES as RAM_BYTES
from servable_core.resources.resource_allocation import Resource as Resource
from servable_core.resources.resource_allocation import ResourceAllocation as ResourceAllocation
from servable_core.resources.resource_allocation import host_ram as host_ram
from servable_core.resources.resource_topology import ResourceTopology as ResourceTopology
from servable_core.resources.resource_tracker import (
    InsufficientResourcesError as InsufficientResourcesError,
)
from servable_core.resources.resource_tracker import ResourceTracker as ResourceTracker

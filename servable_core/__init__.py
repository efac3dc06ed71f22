"""Versioned servables and a batch scheduler, without Beam; TensorFlow only where models are run.

The vocabulary is re-exported here; everything else is imported from its own module.
"""

from servable_core.lifecycle import Loader as Loader
from servable_core.lifecycle import ServableData as ServableData
from servable_core.lifecycle import ServableHandle as ServableHandle
from servable_core.lifecycle import ServableId as ServableId
from servable_core.lifecycle import ServableRequest as ServableRequest
from servable_core.lifecycle import ServableState as ServableState
from servable_core.lifecycle import SimpleLoader as SimpleLoader
from servable_core.lifecycle import Source as Source
from servable_core.lifecycle import Target as Target
from servable_core.lifecycle import connect as connect

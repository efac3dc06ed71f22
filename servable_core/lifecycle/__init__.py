"""The vocabulary: identities, loaders, handles, states, and the chain from source to target."""

from servable_core.lifecycle.loader import Loader as Loader
from servable_core.lifecycle.loader import ResourceUnsafeLoader as ResourceUnsafeLoader
from servable_core.lifecycle.loader import SimpleLoader as SimpleLoader
from servable_core.lifecycle.servable_data import ServableData as ServableData
from servable_core.lifecycle.servable_handle import ServableHandle as ServableHandle
from servable_core.lifecycle.servable_id import ServableId as ServableId
from servable_core.lifecycle.servable_request import AutoVersionPolicy as AutoVersionPolicy
from servable_core.lifecycle.servable_request import ServableRequest as ServableRequest
from servable_core.lifecycle.servable_state import (
    AspiredServableStateSnapshot as AspiredServableStateSnapshot,
)
from servable_core.lifecycle.servable_state import HarnessState as HarnessState
from servable_core.lifecycle.servable_state import ManagerState as ManagerState
from servable_core.lifecycle.servable_state import ServableState as ServableState
from servable_core.lifecycle.source import Connection as Connection
from servable_core.lifecycle.source import Source as Source
from servable_core.lifecycle.source import Target as Target
from servable_core.lifecycle.source import connect as connect
from servable_core.lifecycle.source_adapter import (
    ErrorInjectingSourceAdapter as ErrorInjectingSourceAdapter,
)
from servable_core.lifecycle.source_adapter import SourceAdapter as SourceAdapter
from servable_core.lifecycle.source_adapter import UnarySourceAdapter as UnarySourceAdapter
from servable_core.lifecycle.source_router import DynamicSourceRouter as DynamicSourceRouter
from servable_core.lifecycle.source_router import SourceRouter as SourceRouter
from servable_core.lifecycle.source_router import StaticSourceRouter as StaticSourceRouter

"""Tables of rows by key: embeddings, vocabularies, configurations of feature transformations."""

from servable_core.servables.lookup_table.lookup_table import LookupTable as LookupTable
from servable_core.servables.lookup_table.platform import (
    create_lookup_table_loader as create_lookup_table_loader,
)

"""The plan: all that a job will do, decided before the first unit and read by every worker."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from servable_core.lifecycle import ServableId
from transforms.content_options import ContentOptions
from transforms.unit_table import Unit, UnitTable


@dataclass(frozen=True, kw_only=True, slots=True)
class PinnedModel:
    """One version of a model, as it was when the plan was made.

    Attributes:
        name: Servable name.
        version: Version number.
        path: Version directory, local or a URI.
        fingerprint: What workers must find there.
    """

    name: str
    version: int
    path: str
    fingerprint: str

    @property
    def servable_id(self) -> ServableId:
        """Returns name and version."""
        return ServableId(self.name, self.version)


@dataclass(frozen=True, kw_only=True, slots=True)
class InputFile:
    """An input file, as it was when the plan was made.

    Attributes:
        path: Local path or URI.
        size_bytes: Its length.
        mtime_secs: Its last change; 0 where the store does not tell.
    """

    path: str
    size_bytes: int
    mtime_secs: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A job, decided.

    Attributes:
        models: Versions to run, each over every unit.
        inputs: Input files.
        units: The work.
        content: Options that decide what is written.
        read_columns: Columns or features to read.
        features: But for Parquet, how each of them is parsed: name to (Arrow type, length or None,
            whether it is a sequence).
        reads_records: Whether serialized Examples are fed to a model as they are.
        batch_size_hint: Rows of a batch when no size is asked for.
        flags: The command line's own words for what was asked, to find conflicts when resuming.
        plan_id: Digest of all of it; receipts name it.
    """

    models: tuple[PinnedModel, ...]
    inputs: tuple[InputFile, ...]
    units: UnitTable
    content: ContentOptions
    read_columns: tuple[str, ...]
    features: Mapping[str, tuple[str, int | None, bool]]
    reads_records: bool
    batch_size_hint: int
    flags: Mapping[str, Any]
    plan_id: str = ""

    @property
    def num_rows(self) -> int | None:
        """Returns the rows of all units, or None when only reading tells."""
        return None if self.content.sample is not None else self.units.num_rows

    def planned_rows(self, unit: Unit) -> int | None:
        """Returns the rows that must be read of a unit, or None when only reading tells."""
        return None if self.content.sample is not None else unit.num_rows

    @property
    def size_bytes(self) -> int:
        """Returns about how many bytes all units read."""
        return self.units.size_bytes

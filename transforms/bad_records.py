"""Records that have no outputs, and why: what becomes of them is for the job to decide."""

from dataclasses import dataclass, field
from enum import Enum

import pyarrow as pa


class Stage(Enum):
    """Where a record failed, in the order of the data flow."""

    READ = "read"
    PARSE = "parse"
    PREPROCESS = "preprocess"
    BIND = "bind"
    PREDICT = "predict"
    POSTPROCESS = "postprocess"
    WRITE = "write"


@dataclass(frozen=True, kw_only=True, slots=True)
class BadRecord:
    """One record of the input that failed.

    Attributes:
        source_file: The file that it is in.
        source_row: Its index in the file; None where that cannot be known.
        byte_offset: Where it begins in the file's (decompressed) bytes; None for rows of tables.
        stage: Where it failed.
        code: Canonical code of the error.
        message: What was wrong, in words.
        record: Its raw bytes: a TFRecord's payload, or a table's row as JSON; None if unreadable.
        model: Name and version of the model that it failed in; None if it failed for all.
        schema: The columns that a row as JSON had; None of other records.
    """

    source_file: str
    source_row: int | None
    byte_offset: int | None
    stage: Stage
    code: str
    message: str
    record: bytes | None = None
    model: tuple[str, int] | None = None
    schema: pa.Schema | None = field(default=None, compare=False, repr=False)

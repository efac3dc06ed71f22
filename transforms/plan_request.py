"""What a new job's plan is made from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from transforms.model_config import ModelSelection
from transforms.nulls import NullPolicy
from transforms.unit_cutting import UnitBounds


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanRequest:
    """What the user asked for.

    Attributes:
        models: Which versions of which models.
        signature_name: Which signature; several, as `a,b`.
        inputs: Globs, directories, files, and `@` before files that list them.
        input_format: "parquet", "tfrecord", "csv", "jsonl", or None to tell by suffix.
        input_map: `--input_map` entries.
        key: Column that identifies a row, or None.
        passthrough: Columns to copy.
        output_tensors: `--output_tensors` entries.
        preprocess: `package.module:function` or None.
        postprocess: Likewise.
        bounds: Size of units.
        limit: Only the first rows, or None for all.
        on_error: "fail" or "dead_letter".
        crc: "check" or "ignore", for TFRecords.
        jit_compile: Whether XLA compiles the models.
        mixed_precision: Whether models compute in 16 bits where that is held harmless.
        pad_variable_length_inputs: Whether all lists of varying length are padded.
        pad_values: `--pad_values` entries.
        length_ladder: Lengths to pad to; empty for the default ones.
        output_format: One of `OUTPUT_FORMATS`.
        log_inputs: Whether requests are logged beside responses.
        method: One of `METHODS`.
        deterministic: Whether equal plans must give equal bytes.
        flags: The flags as given, to be recorded.
        sample: Share of the rows to read, or None for all.
        sample_seed: Another one gives another sample.
        on_null: What becomes of rows with nulls.
        dedupe: Whether rows of equal inputs share one computation.
        column_flags: Which flag named a column to copy, for messages, where it was no --passthrough.
    """

    models: ModelSelection
    signature_name: str
    inputs: tuple[str, ...]
    input_format: str | None
    input_map: tuple[str, ...]
    key: str | None
    passthrough: tuple[str, ...]
    output_tensors: tuple[str, ...]
    preprocess: str | None
    postprocess: str | None
    bounds: UnitBounds
    limit: int | None
    deterministic: bool
    flags: Mapping[str, Any]
    on_error: str = "fail"
    crc: str = "check"
    jit_compile: bool = False
    mixed_precision: bool = False
    pad_variable_length_inputs: bool = False
    pad_values: tuple[str, ...] = ()
    length_ladder: tuple[int, ...] = ()
    output_format: str = "parquet"
    log_inputs: bool = False
    method: str = "predict"
    sample: float | None = None
    sample_seed: int = 0
    on_null: NullPolicy = field(default_factory=NullPolicy)
    dedupe: bool = False
    column_flags: Mapping[str, str] = field(default_factory=dict)

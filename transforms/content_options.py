"""The options that decide what is written: the part of a plan that a resumed job must keep."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class ContentOptions:
    """The options that decide what is written; all others may differ when a job is resumed.

    Attributes:
        input_format: "parquet", "tfrecord", "csv" or "jsonl".
        signature_name: The signature that is run; several, as `a,b`.
        input_map: `--input_map` entries as given.
        key: Column that identifies a row, or None for source_file and source_row.
        passthrough: Further columns to copy.
        output_tensors: `--output_tensors` entries as given.
        preprocess: `package.module:function` or None.
        postprocess: Likewise.
        deterministic_batch_size: Rows of a batch if batches are cut at fixed offsets, else None.
        deterministic_threads: TensorFlow's (intra-op, inter-op) threads if recorded, else None.
        deterministic_batch_cells: As the batch size, but cells, where inputs are ragged.
        crc: "check" or "ignore": whether the checksums of TFRecords are verified.
        jit_compile: Whether XLA compiles the models.
        mixed_precision: Whether models compute in 16 bits where TensorFlow holds that harmless.
        on_error: "fail", or "dead_letter" for records that fail to be put aside.
        pad_variable_length_inputs: Whether lists of varying length are padded, also for inputs
            without a mask or lengths.
        pad_values: `--pad_values` entries as given.
        length_ladder: Lengths to pad to; empty for the default ones.
        output_format: One of `OUTPUT_FORMATS`.
        log_inputs: Whether requests are logged beside responses.
        method: One of `METHODS`.
        sample: Share of the rows that is read, chosen by their files and numbers; None for all.
        sample_seed: Another one gives another sample.
        on_null: `--on_null` as given.
        dedupe: Whether rows of equal inputs share one computation.
    """

    input_format: str
    signature_name: str
    input_map: tuple[str, ...]
    key: str | None
    passthrough: tuple[str, ...]
    output_tensors: tuple[str, ...]
    preprocess: str | None
    postprocess: str | None
    deterministic_batch_size: int | None
    deterministic_threads: tuple[int, int] | None
    deterministic_batch_cells: int | None = None
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
    on_null: str = "error"
    dedupe: bool = False

    @property
    def keeps_bad_records(self) -> bool:
        """Whether records that fail are put aside, and the others go on."""
        return self.on_error == "dead_letter"

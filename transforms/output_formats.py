"""The formats that parts are written in: the end of their names, their writers, and how they are counted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from servable_core.errors import InvalidArgumentError
from transforms.formats.example_bytes import to_examples
from transforms.formats.json_lines_writer import count_lines, json_lines_writer
from transforms.formats.nested import is_list
from transforms.formats.parquet import read_footer
from transforms.formats.parquet_writer import ParquetWriter
from transforms.formats.part_writer import CreateWriter, PartWriter
from transforms.formats.prediction_log_writer import LoggedModel, prediction_log_writer
from transforms.formats.tfrecord_writer import count_frames, example_writer
from transforms.storage import DigestingSink

_PREDICTION_LOG = "prediction_log"


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputFormat:
    """A format of parts.

    Attributes:
        suffix: What their names end in; formats of one suffix are counted alike.
        write: Returns the writer of a part; the model is for formats that log who was asked.
        count_rows: Returns how many rows the file at a path holds, and raises DataLossError if it is
            cut off.
        logs_tensors: Whether the writer wants inputs and outputs as tensors, not columns.
        check: Raises what the writer would raise for a value that the format has no place for; None
            if it has one for all. Cheap where the types tell that there is none.
    """

    suffix: str
    write: Callable[[DigestingSink, LoggedModel], PartWriter]
    count_rows: Callable[[str], int]
    logs_tensors: bool = False
    check: Callable[[pa.RecordBatch], None] | None = None

    def writer_for(self, model: LoggedModel) -> CreateWriter:
        """Returns what makes writers of parts of `model`."""
        return lambda sink: self.write(sink, model)


def _count_parquet_rows(path: str) -> int:
    return sum(group.num_rows for group in read_footer(path).row_groups)


def _check_examples(columns: pa.RecordBatch) -> None:
    in_doubt = [
        name
        for name, column in zip(columns.schema.names, columns.columns, strict=True)
        if _may_not_fit(column)
    ]
    to_examples(columns.select(in_doubt))


def _may_not_fit(column: pa.Array) -> bool:
    """Whether an Example may have no place for a value: a null in a list, or a large number."""
    while is_list(column.type):
        column = column.flatten()
        if column.null_count:
            return True
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    return not (
        pa.types.is_float32(kind)
        or (pa.types.is_integer(kind) and not pa.types.is_uint64(kind))
        or pa.types.is_string(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_boolean(kind)
    )


OUTPUT_FORMATS: Mapping[str, OutputFormat] = {
    "parquet": OutputFormat(
        suffix=".parquet",
        write=lambda sink, _: ParquetWriter(sink),
        count_rows=_count_parquet_rows,
    ),
    "tfrecord": OutputFormat(
        suffix=".tfrecord",
        write=lambda sink, _: example_writer(sink),
        count_rows=count_frames,
        check=_check_examples,
    ),
    "tfrecord_gzip": OutputFormat(
        suffix=".tfrecord.gz",
        write=lambda sink, _: example_writer(sink, with_gzip=True),
        count_rows=count_frames,
        check=_check_examples,
    ),
    _PREDICTION_LOG: OutputFormat(
        suffix=".tfrecord",
        write=prediction_log_writer,
        count_rows=count_frames,
        logs_tensors=True,
    ),
    "jsonl": OutputFormat(
        suffix=".jsonl",
        write=lambda sink, _: json_lines_writer(sink),
        count_rows=count_lines,
    ),
}


def is_part(path: str) -> bool:
    """Whether a file's name ends as those of parts do."""
    return any(path.endswith(each.suffix) for each in OUTPUT_FORMATS.values())


def count_rows(path: str) -> int:
    """Returns how many rows a part holds; for the last stage, which trusts no receipt.

    Raises:
        DataLossError: It is cut off.
    """
    counts = {each.suffix: each.count_rows for each in OUTPUT_FORMATS.values()}
    return next(count(path) for suffix, count in counts.items() if path.endswith(suffix))


def check_output_format(
    output_format: str, *, method: str, log_inputs: bool, unlogged: Mapping[str, object]
) -> None:
    """Checks that the flags of a job's output go together.

    Args:
        output_format: One of `OUTPUT_FORMATS`.
        method: What a signature's outputs are made into.
        log_inputs: Whether requests are logged.
        unlogged: Flags that choose or change columns, with their values: a log has none.

    Raises:
        InvalidArgumentError: They do not.
    """
    if output_format not in OUTPUT_FORMATS:
        raise InvalidArgumentError(
            f"--output_format must be one of {', '.join(OUTPUT_FORMATS)}, got {output_format!r}"
        )
    if output_format != _PREDICTION_LOG:
        if log_inputs:
            raise InvalidArgumentError(
                f"--log_inputs is for --output_format={_PREDICTION_LOG}, got {output_format}; copy columns of the input with --passthrough"
            )
        return
    given = [flag for flag, value in unlogged.items() if value]
    if method != "predict":
        given.append(f"--method={method}")
    if given:
        raise InvalidArgumentError(
            f"--output_format={_PREDICTION_LOG} holds requests and responses as the model knows them, so it does not go with {', '.join(given)}; leave that out, or write another format"
        )

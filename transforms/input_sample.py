"""The first rows of the input, for trying the user's functions before anything runs."""

from collections.abc import Iterator, Sequence

from servable_core.errors import DataLossError, NotFoundError
from servable_core.runtime.file_system import FileInfo
from transforms.dead_letter_inputs import (
    RECORD_LETTERS,
    ROW_LETTERS,
    read_record_letters,
    read_row_letters,
)
from transforms.formats import parquet, tfrecord
from transforms.formats.tfrecord_options import tfrecord_options
from transforms.input_batch import InputBatch
from transforms.inputs import InputDescription
from transforms.text_ranges import read_text_range

_SAMPLE_ROWS = 16


def sample_rows(
    files: Sequence[FileInfo],
    input_format: str,
    description: InputDescription,
    *,
    crc: str = "check",
) -> InputBatch:
    """Returns up to 16 good rows.

    Args:
        files: The input.
        input_format: What kind of files they are.
        description: What is known of them.
        crc: "check" or "ignore": whether TFRecords with wrong checksums are bad.

    Raises:
        NotFoundError: There is none.
        DataLossError: Likewise, in Parquet.
    """
    if input_format == "tfrecord":
        return _tfrecord_sample([each.path for each in files], description, crc)
    if input_format in (RECORD_LETTERS, ROW_LETTERS):
        return _letters_sample(files, input_format, description)
    if input_format != "parquet":
        return _text_sample(files, input_format, description)
    return _parquet_sample(files, description)


def _parquet_sample(files: Sequence[FileInfo], description: InputDescription) -> InputBatch:
    errors = []
    for index in dict.fromkeys(each.file_index for each in description.pieces):
        try:  # all of the first files may be damaged
            table = parquet.read_head(files[index].path, _SAMPLE_ROWS)
        except DataLossError as error:
            errors.append(error)
        else:
            columns = table.replace_schema_metadata(None).combine_chunks()
            return InputBatch(columns=columns.to_batches()[0])
    raise errors[0]


def _tfrecord_sample(paths: Sequence[str], description: InputDescription, crc: str) -> InputBatch:
    features = list(description.features.values())
    options = tfrecord_options(crc, "dead_letter")
    for path in paths:  # the first ones may have no records, or only bad ones
        batches = tfrecord.read_batches(
            path, features, _SAMPLE_ROWS, with_records=True, options=options
        )
        found = next((each for each in batches if each.num_rows), None)
        if found is not None:
            return found.slice(0, _SAMPLE_ROWS)
    raise NotFoundError(f"no good record in {len(paths)} files to try --preprocess on")


def _text_sample(
    files: Sequence[FileInfo], input_format: str, description: InputDescription
) -> InputBatch:
    for piece in description.pieces:  # the first rows may all be bad
        path = files[piece.file_index].path
        schema = description.schemas[0]
        for batch in read_text_range(path, piece, input_format, schema, "dead_letter"):
            if batch.num_rows:
                return InputBatch(columns=batch.columns.slice(0, _SAMPLE_ROWS))
    raise NotFoundError(f"no good row in {len(files)} files to try --preprocess on")


def _letters_sample(
    files: Sequence[FileInfo], input_format: str, description: InputDescription
) -> InputBatch:
    for piece in description.pieces:  # the first records may all be bad
        path = files[piece.file_index].path
        for batch in _letter_batches(path, input_format, description):
            if batch.num_rows:
                return batch.slice(0, _SAMPLE_ROWS)
    raise NotFoundError(f"no good record in {len(files)} files to try --preprocess on")


def _letter_batches(
    path: str, input_format: str, description: InputDescription
) -> Iterator[InputBatch]:
    if input_format == ROW_LETTERS:
        return read_row_letters(path, description.schemas[0], "dead_letter")
    return tfrecord.parse_blocks(
        read_record_letters(path),
        list(description.features.values()),
        lambda: _SAMPLE_ROWS,
        with_records=True,
        options=tfrecord_options("check", "dead_letter"),
    )

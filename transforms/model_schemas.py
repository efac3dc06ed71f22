"""What models are fed from: the schemas of the data, or what `--preprocess` makes of them."""

from collections.abc import Sequence

import pyarrow as pa

from servable_core.errors import InternalError
from servable_core.runtime.file_system import FileInfo
from transforms.input_sample import sample_rows
from transforms.inputs import InputDescription
from transforms.process_unit import preprocessed
from transforms.user_functions import load_function


def schemas_to_bind(
    preprocess: str | None,
    files: Sequence[FileInfo],
    input_format: str,
    description: InputDescription,
    *,
    crc: str = "check",
) -> tuple[pa.Schema, ...]:
    """Returns the schemas that models see; tries the user's function, if any, on a few rows.

    Args:
        preprocess: `package.module:function` or None.
        files: The input.
        input_format: What kind of files they are.
        description: What is known of them.
        crc: Whether the function is tried on TFRecords with wrong checksums, too: "ignore", or "check".

    Raises:
        InternalError: The function fails.
        InvalidArgumentError: It returns something else than a batch of as many rows.
        NotFoundError: There is no such function, or no row to try it on.
    """
    function = load_function("--preprocess", preprocess)
    if function is None:
        return description.schemas
    sample = sample_rows(files, input_format, description, crc=crc)
    try:
        batch = preprocessed(sample, function, key="")
    except (OSError, MemoryError) as error:
        raise InternalError(
            f"--preprocess={preprocess} failed: {type(error).__name__}: {error}"
        ) from error
    return (batch.columns.schema,)

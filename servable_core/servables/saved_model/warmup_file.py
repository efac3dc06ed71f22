"""The file of warm-up requests that a SavedModel may carry: a TFRecord file of `PredictionLog`s."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from servable_core.errors import DataLossError, InvalidArgumentError
from servable_core.servables.saved_model.prediction_log import parse_prediction_log, predict_log
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"
MAX_WARMUP_RECORDS = 1000  # as the model server


def read_warmup_requests(path: str, place: str) -> Iterator[Any]:
    """Yields the `PredictionLog` of each record, read as it is asked for.

    Args:
        path: The file, on this machine.
        place: What messages call it.

    Raises:
        DataLossError: It is not TFRecord, or is corrupt.
        InvalidArgumentError: A record does not parse, or there are more than `MAX_WARMUP_RECORDS`.
    """
    for number, record in enumerate(_records(path, place), start=1):
        if number > MAX_WARMUP_RECORDS:
            raise InvalidArgumentError(
                f"number of warm-up records exceeds the maximum ({MAX_WARMUP_RECORDS}) at {place}; write fewer"
            )
        try:
            log = parse_prediction_log(record)
        except InvalidArgumentError as error:
            raise InvalidArgumentError(f"record {number} of {place}: {error}") from error
        yield log


def write_warmup_requests(
    path: str | Path, requests: Sequence[Mapping[str, np.ndarray]], *, signature_name: str
) -> None:
    """Writes the file that the model is warmed up with, in place of what was there.

        write_warmup_requests(
            f"{version}/{WARMUP_FILE}", [{"x": np.zeros((32, 4), np.float32)}], signature_name="score"
        )

    Args:
        path: The file, in a version directory that nobody serves yet. Its directory is made.
        requests: For each request an array by input name, rows along the first dimension.
        signature_name: The signature that all of them ask.

    Raises:
        InvalidArgumentError: There are more than `MAX_WARMUP_RECORDS`.
    """
    if len(requests) > MAX_WARMUP_RECORDS:
        raise InvalidArgumentError(
            f"{path} can hold {MAX_WARMUP_RECORDS} warm-up requests, got {len(requests)}; write fewer"
        )
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with import_tensorflow().io.TFRecordWriter(str(path)) as writer:
        for inputs in requests:
            writer.write(predict_log(inputs, signature_name=signature_name).SerializeToString())


def _records(path: str, place: str) -> Iterator[bytes]:
    tf = import_tensorflow()
    number = 0
    try:
        for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
            number += 1
            yield record
    except tf.errors.DataLossError as error:
        raise DataLossError(
            f"{place} is not TFRecord, or is corrupt: record {number + 1} cannot be read; write the file again"
        ) from error

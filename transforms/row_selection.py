"""Some rows of a batch, chosen one by one."""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from transforms.input_batch import InputBatch, Origin
from transforms.row_numbers import origins_of


def select_rows(batch: InputBatch, mask: np.ndarray) -> InputBatch:
    """Returns the rows at which `mask` is true, and all bad records."""
    share = float(mask.mean()) if len(mask) else 0.0
    return replace(
        batch,
        columns=batch.columns.filter(pa.array(mask)),
        records=None if batch.records is None else _select_records(batch.records, mask),
        records_bytes=int(batch.records_bytes * share),
        origins=_select_origins(batch.origins, mask),
    )


def _select_records(records: Any, mask: np.ndarray) -> Any:
    if isinstance(records, np.ndarray):
        return records[mask]
    from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow

    return import_tensorflow().boolean_mask(records, mask)


def _select_origins(origins: tuple[Origin, ...], mask: np.ndarray) -> tuple[Origin, ...]:
    kept: list[Origin] = []
    start = 0
    for each in origins:
        rows = np.flatnonzero(mask[start : start + each.num_rows]) + each.first_row
        kept += origins_of(each.path, rows)
        start += each.num_rows
    return tuple(kept)

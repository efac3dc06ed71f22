"""Writes predictions in the layout of a precompute job."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def save_version(output, version, parts, model_name="m", first_part=0):
    """Writes the parts of a version; each is a table, or the columns of one."""
    directory = Path(output) / f"model_name={model_name}" / f"model_version={version}"
    directory.mkdir(parents=True, exist_ok=True)
    for index, part in enumerate(parts, start=first_part):
        table = part if isinstance(part, pa.Table) else pa.table(part)
        pq.write_table(table, directory / f"part-{index:05}-of-{len(parts):05}.parquet")
    return directory


def rows_of(batches):
    """Returns the rows of all batches as (columns, outputs of each version)."""
    return [
        (
            row,
            *(
                None if each is None else each.slice(place, 1).to_pylist()[0]
                for each in one.outputs
            ),
        )
        for one in batches
        for place, row in enumerate(one.columns.to_pylist())
    ]

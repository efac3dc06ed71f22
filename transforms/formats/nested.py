"""Lists of any kind, taken apart."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def is_list(data_type: pa.DataType) -> bool:
    """Whether values of the type are lists: of 32-bit or 64-bit offsets, or of one size."""
    types = pa.types
    return bool(
        types.is_list(data_type)
        or types.is_large_list(data_type)
        or types.is_fixed_size_list(data_type)
    )


def list_offsets(lists: pa.Array) -> tuple[np.ndarray, pa.Array]:
    """Returns where each list's items begin, with the end, and the items; a null list has none."""
    sizes = pc.fill_null(pc.list_value_length(lists), 0)
    ends = np.cumsum(sizes.to_numpy(zero_copy_only=False).astype(np.int64))
    return np.concatenate([np.zeros(1, np.int64), ends]), lists.flatten()

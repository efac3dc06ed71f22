"""The types of the arrays that states and metrics are made of."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Integers: TypeAlias = NDArray[np.int64]
Labels: TypeAlias = NDArray[np.integer[Any]]  # 0 and 1, in any type
RowCells: TypeAlias = NDArray[np.integer[Any]]  # the cell of each row, in any type
Booleans: TypeAlias = NDArray[np.bool_]

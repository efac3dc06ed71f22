"""Division of arrays in which 0 / 0 is unknown, not an error."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def ratio(dividend: ArrayLike, divisor: ArrayLike, *, default: float = np.nan) -> NDArray[Any]:
    """Returns the quotients, and `default` where the divisor is 0.

    Complex arguments are allowed, so derivatives can be taken by complex steps.
    """
    above, below = np.asarray(dividend), np.asarray(divisor)
    kind = np.result_type(above, below, np.float64)
    found = np.full(np.broadcast_shapes(above.shape, below.shape), default, dtype=kind)
    return np.divide(above, below, out=found, where=below != 0)

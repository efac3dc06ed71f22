"""Division of arrays in which 0 / 0 is unknown, not an error."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def ratio(dividend: ArrayLike, divisor: ArrayLike, *, default: float = np.nan) -> NDArray[Any]:
    """Returns the quotients, and `default` where the divisor is 0.

    Complex arguments are allowed, so derivatives can be taken by complex steps.
    """
    above, below = np.broadcast_arrays(dividend, divisor)
    is_defined = below != 0
    return np.where(is_defined, above / np.where(is_defined, below, 1), default)

"""Estimates of many slices at once, as columns of numbers."""

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from transforms.metrics.array_types import Booleans, Floats, Integers
from transforms.metrics.estimate import Estimate, Method

# A method is held as its place here.
METHODS = tuple(Method)
NUMBERS = (
    "value",
    "standard_error",
    "degrees_of_freedom",
    "effective_rows",
    "lower_bound",
    "upper_bound",
)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Estimates:
    """Arrays of one shape, with the meaning of the attributes of `Estimate`.

    Attributes:
        value: See `Estimate`, as for all that follow.
        standard_error: Of the sampling of rows.
        degrees_of_freedom: Of the t distribution of the error.
        methods: How intervals are found, as places in `METHODS`.
        effective_rows: For Wilson's interval.
        lower_bound: The metric of the rows is certainly not below.
        upper_bound: Nor above.
    """

    value: Floats
    standard_error: Floats
    degrees_of_freedom: Floats
    methods: Integers
    effective_rows: Floats
    lower_bound: Floats
    upper_bound: Floats

    @classmethod
    def of(
        cls,
        value: ArrayLike,
        *,
        standard_error: ArrayLike = math.nan,
        degrees_of_freedom: ArrayLike = math.inf,
        methods: ArrayLike = 0,
        effective_rows: ArrayLike = math.nan,
        lower_bound: ArrayLike = math.nan,
        upper_bound: ArrayLike = math.nan,
    ) -> Self:
        """Returns the estimates; a bound that is NaN is the value, as in `Estimate`."""
        values = np.asarray(value, dtype=np.float64)
        bounds = [_like(values, each, np.float64) for each in (lower_bound, upper_bound)]
        lower, upper = (np.where(np.isnan(each), values, each) for each in bounds)
        return cls(
            value=values,
            standard_error=_like(values, standard_error, np.float64),
            degrees_of_freedom=_like(values, degrees_of_freedom, np.float64),
            methods=_like(values, methods, np.int8),
            effective_rows=_like(values, effective_rows, np.float64),
            lower_bound=lower,
            upper_bound=upper,
        )

    def where(self, is_chosen: Booleans, other: Self) -> Self:
        """Returns these estimates where `is_chosen`, and others elsewhere."""
        pairs = {
            name: np.where(is_chosen, getattr(self, name), getattr(other, name))
            for name in (*NUMBERS, "methods")
        }
        return type(self)(**pairs)

    def take(self, places: Any) -> Self:
        """Returns some of the estimates, chosen by any index of arrays."""
        return type(self)(**{name: getattr(self, name)[places] for name in (*NUMBERS, "methods")})

    def at(self, place: int) -> Estimate:
        """Returns one of the estimates."""
        found = {name: float(getattr(self, name)[place]) for name in NUMBERS}
        # The NaN, which is itself, so that equal estimates are equal.
        numbers: dict[str, Any] = {k: math.nan if math.isnan(v) else v for k, v in found.items()}
        return Estimate(method=METHODS[self.methods[place]], **numbers)


def method_places(is_known: ArrayLike, method: Method) -> Integers:
    """Returns the place of a method in `METHODS` where the error is known, that of none elsewhere."""
    return np.where(is_known, METHODS.index(method), METHODS.index(Method.NONE))


def _like(values: Floats, numbers: ArrayLike, kind: type) -> NDArray[Any]:
    return np.broadcast_to(np.asarray(numbers, dtype=kind), values.shape)

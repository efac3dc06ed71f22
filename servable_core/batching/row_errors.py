"""The error of a submission of which some rows failed."""

from collections.abc import Mapping
from typing import Any

from servable_core.errors import Code, ServableCoreError


class RowErrors(ServableCoreError):  # noqa: N818 - it holds one for each row
    """Some rows failed, the others did not; its code is that of the first row that failed.

    Attributes:
        errors: Why each failed, by its index in the submission, increasing.
        outputs: The outputs of all other rows, in order; None where a session does not go on
            behind the first row that fails.
    """

    def __init__(
        self, message: str, errors: Mapping[int, BaseException], outputs: dict[str, Any] | None
    ) -> None:
        super().__init__(message)
        self.errors = dict(sorted(errors.items()))
        self.outputs = outputs
        first = next(iter(self.errors.values()))
        self.code = first.code if isinstance(first, ServableCoreError) else Code.INTERNAL

    @classmethod
    def of(
        cls, errors: Mapping[int, BaseException], num_rows: int, outputs: dict[str, Any] | None
    ) -> BaseException:
        """Returns the error for a submission of `num_rows`; of a single row, its own error."""
        first = min(errors)
        if num_rows == 1:
            return errors[first]
        count = f"{len(errors)} of {num_rows} rows" if outputs is not None else "a row"
        return cls(f"{count} failed; row {first}: {errors[first]}", errors, outputs)

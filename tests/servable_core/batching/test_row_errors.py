"""The error of several rows."""

import pytest

from servable_core.batching.row_errors import RowErrors
from servable_core.errors import Code, InvalidArgumentError


@pytest.mark.parametrize(
    ("outputs", "message"),
    [({}, "2 of 9 rows failed; row 3: bad"), (None, "a row failed; row 3: bad")],
)
def test_message_names_the_first_row(outputs, message):
    """And how many failed, where that is known."""
    error = RowErrors.of({7: KeyError("x"), 3: InvalidArgumentError("bad")}, 9, outputs)
    assert str(error) == message
    assert error.code is Code.INVALID_ARGUMENT
    assert list(error.errors) == [3, 7]


def test_code_of_an_error_from_elsewhere_is_internal():
    """Only errors of this project have a code."""
    assert RowErrors.of({0: ValueError("bad")}, 2, {}).code is Code.INTERNAL


def test_single_row_fails_with_its_own_error():
    """There is nothing else to tell."""
    error = ValueError("bad")
    assert RowErrors.of({0: error}, 1, {}) is error

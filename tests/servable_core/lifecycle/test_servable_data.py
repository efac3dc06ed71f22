"""Data or an error about a servable."""

import pytest

from servable_core.lifecycle import ServableData, ServableId

ID = ServableId("a", 1)


@pytest.mark.parametrize("data", ["path", None])
def test_data_comes_out_as_it_went_in(data: object) -> None:
    """None is data like any other."""
    servable_data = ServableData.of(ID, data)

    assert servable_data.unwrap() is data
    assert servable_data.error is None


def test_an_error_is_raised_by_whoever_wants_the_data() -> None:
    """Unwrapping failed data raises the very error."""
    error = OSError("gone")

    with pytest.raises(OSError, match="gone") as caught:
        ServableData.failed(ID, error).unwrap()
    assert caught.value is error

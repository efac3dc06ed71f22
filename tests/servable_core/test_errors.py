import pickle

import pytest

from servable_core import errors
from servable_core.errors import Code, ServableCoreError, error_for_code

_CLASSES = [
    each for each in ServableCoreError.__subclasses__() if each.__module__ == errors.__name__
]


def test_every_code_has_one_class():
    """The tree and the canonical codes match one to one."""
    assert sorted(each.code.value for each in _CLASSES) == sorted(code.value for code in Code)
    assert len(_CLASSES) == len(Code)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("CANCELLED", 1),
        ("INVALID_ARGUMENT", 3),
        ("DEADLINE_EXCEEDED", 4),
        ("NOT_FOUND", 5),
        ("ALREADY_EXISTS", 6),
        ("RESOURCE_EXHAUSTED", 8),
        ("FAILED_PRECONDITION", 9),
        ("ABORTED", 10),
        ("INTERNAL", 13),
        ("UNAVAILABLE", 14),
        ("DATA_LOSS", 15),
    ],
)
def test_numbers_are_canonical(name, number):
    """Numbers are those that gRPC sends, and each gives its class back."""
    assert Code[name].value == number
    error = error_for_code(number, "why")
    assert error is not None
    assert error.code is Code[name]
    assert str(error) == "why"


@pytest.mark.parametrize("number", [0, 2, 7, 11, 12, 16, -1, 99])
def test_other_numbers(number):
    """Codes that the tree does not have give nothing."""
    assert error_for_code(number, "why") is None


@pytest.mark.parametrize("error_class", _CLASSES)
def test_errors_cross_processes(error_class):
    """Class, message and code survive pickling, as between workers."""
    error = pickle.loads(pickle.dumps(error_class("what, where, what to do")))
    assert type(error) is error_class
    assert str(error) == "what, where, what to do"
    assert error.code is error_class.code


@pytest.mark.parametrize(
    ("error_class", "builtin"),
    [
        (errors.InvalidArgumentError, ValueError),
        (errors.DeadlineExceededError, TimeoutError),
        (errors.NotFoundError, LookupError),
    ],
)
def test_errors_are_what_python_calls_them(error_class, builtin):
    """Callers who know nothing of this tree may catch Python's own classes."""
    with pytest.raises(builtin, match="why"):
        raise error_class("why")

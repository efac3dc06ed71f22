import pyarrow as pa
import pytest

from servable_core.errors import InternalError, InvalidArgumentError, NotFoundError
from transforms.user_functions import load_function

_BATCH = pa.record_batch({"a": [1, 2, 3]})


@pytest.fixture(name="load")
def _load(tmp_path, monkeypatch):
    """Writes a module, and returns what loads a function of it."""

    def load(code, function="f"):
        name = f"loaded_{abs(hash(tmp_path))}"
        (tmp_path / f"{name}.py").write_text(code)
        monkeypatch.syspath_prepend(str(tmp_path))
        return load_function("--preprocess", f"{name}:{function}")

    return load


def test_none_stays_none():
    """Without a flag there is no function."""
    assert load_function("--preprocess", None) is None


def test_result_is_returned(load):
    """A function that keeps the rows may change the columns."""
    function = load("import pyarrow as pa\ndef f(b):\n    return b.rename_columns(['b'])")
    assert function(_BATCH).schema.names == ["b"]


def test_errors_name_the_function(load):
    """What the user's function raises is told as its own, with its type."""
    with pytest.raises(InternalError, match=r":f failed: ZeroDivisionError: division by zero"):
        load("def f(b):\n    return 1 / 0")(_BATCH)


def test_errors_that_may_pass_stay_what_they_are(load):
    """A unit is tried again after them."""
    with pytest.raises(ConnectionResetError):
        load("def f(b):\n    raise ConnectionResetError")(_BATCH)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("b.to_pydict()", "returned dict; it must return a pyarrow.RecordBatch"),
        ("None", "returned NoneType; it must return a pyarrow.RecordBatch"),
        ("b.slice(1)", "returned 2 rows for 3; it must keep the rows and their order"),
    ],
)
def test_results_are_checked(load, body, words):
    """Each call must return as many rows as it was given, as a RecordBatch."""
    function = load(f"def f(b):\n    return {body}")
    with pytest.raises(InvalidArgumentError, match=words):
        function(_BATCH)


@pytest.mark.parametrize("reference", ["", "a", "a.b", ":f", "a:"])
def test_form(reference):
    """A reference is a module, a colon and a function."""
    with pytest.raises(InvalidArgumentError, match="is not of the form package"):
        load_function("--postprocess", reference)


def test_what_is_not_there(load):
    """A missing module and a missing function are different messages."""
    with pytest.raises(NotFoundError, match="the module 'no_such_package' cannot be imported"):
        load_function("--preprocess", "no_such_package:f")
    with pytest.raises(NotFoundError, match="has no 'g'"):
        load("f = 1", "g")


def test_module_that_fails(load):
    """A module that raises while it is imported is told with its error."""
    with pytest.raises(InvalidArgumentError, match="failed: ValueError: at import"):
        load("raise ValueError('at import')")


def test_not_callable(load):
    """Something else than a function is told by its type."""
    with pytest.raises(InvalidArgumentError, match="is list, not callable"):
        load("f = []")

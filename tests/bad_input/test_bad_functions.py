"""`--preprocess` and `--postprocess` that name nothing, or do not keep the rows."""

import pytest

_CODE = """
import pyarrow as pa

a_number = 3

def fails(batch):
    raise KeyError("boom")

def drops_a_row(batch):
    return batch.slice(1)

def returns_a_table(batch):
    return pa.table(batch)

def drops_the_key(batch):
    return batch.select(["x"])

def drops_the_input(batch):
    return batch.select(["id"])
"""


@pytest.fixture(name="module", autouse=True)
def _module(tmp_path, monkeypatch):
    """A module of the user's, importable by a name that no other test has imported."""
    name = f"user_functions_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(_CODE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


class TestReferences:
    @pytest.mark.parametrize("flag", ["--preprocess", "--postprocess"])
    @pytest.mark.parametrize("reference", ["json", "json.loads", ":loads", "json:", ""])
    def test_form(self, refusal, flag, reference):
        """Both parts are needed, with a colon between them."""
        assert refusal(f"{flag}={reference}") == (
            f"{flag}={reference} is not of the form package.module:function"
        )

    @pytest.mark.parametrize("flag", ["--preprocess", "--postprocess"])
    def test_missing_module(self, refusal, flag):
        """A module that cannot be imported is named, and where it must be importable."""
        assert refusal(f"{flag}=no_such_module:f") == (
            f"{flag}=no_such_module:f: the module 'no_such_module' cannot be imported (No module"
            " named 'no_such_module'); it must be importable here and on the workers"
        )

    @pytest.mark.parametrize("flag", ["--preprocess", "--postprocess"])
    def test_missing_function(self, refusal, module, flag):
        """A function that its module does not have is named."""
        assert refusal(f"{flag}={module}:f") == (
            f"{flag}={module}:f: the module {module!r} has no 'f'"
        )

    def test_not_callable(self, refusal, module):
        """Something that is no function is told by its type."""
        assert refusal(f"--preprocess={module}:a_number") == (
            f"--preprocess={module}:a_number is int, not callable; name a function from RecordBatch"
            " to RecordBatch"
        )

    @pytest.mark.parametrize(
        ("code", "words"),
        [
            ("def (", "SyntaxError: invalid syntax"),
            ("undefined", "NameError: name 'undefined'"),
            ("import sys\nsys.exit(7)", "SystemExit: 7"),
        ],
    )
    def test_module_that_fails(self, refusal, tmp_path, module, code, words):
        """A module whose import raises is named with what it raised."""
        name = f"{module}_broken"
        (tmp_path / f"{name}.py").write_text(code)
        message = refusal(f"--preprocess={name}:f")
        assert message.startswith(
            f"--preprocess={name}:f: importing the module {name!r} failed: {words}"
        )


class TestSample:
    """The function is tried on the first rows while the job is planned."""

    def test_raises(self, refusal, module):
        """An exception on the sample is told with its type."""
        assert refusal(f"--preprocess={module}:fails") == (
            f"--preprocess={module}:fails failed: KeyError: 'boom'"
        )

    def test_wrong_number_of_rows(self, refusal, module):
        """Rows are kept, or outputs could not be told apart."""
        assert refusal(f"--preprocess={module}:drops_a_row") == (
            f"--preprocess={module}:drops_a_row returned 15 rows for 16; it must keep the rows and"
            " their order"
        )

    def test_wrong_type(self, refusal, module):
        """Anything but a RecordBatch is refused by its type."""
        assert refusal(f"--preprocess={module}:returns_a_table") == (
            f"--preprocess={module}:returns_a_table returned Table; it must return a"
            " pyarrow.RecordBatch"
        )

    def test_drops_the_key(self, refusal, module):
        """A key that the function dropped is missing."""
        assert refusal(f"--preprocess={module}:drops_the_key") == (
            "--key=id: the data have no such column; there are: x"
        )

    def test_drops_the_input(self, refusal, module):
        """An input that the function dropped is unbound."""
        message = refusal(f"--preprocess={module}:drops_the_input", num_lines=2)
        assert "input x: float32 [None, 3] has no column of that name" in message

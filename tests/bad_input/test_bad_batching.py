"""Flags and files about batching and padding that mean nothing, or contradict the model and each other."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.cli import main
from tests.models import save_linear, save_ragged


@pytest.fixture(scope="module", name="ragged")
def _ragged(tmp_path_factory):
    """A model that takes lists, as a flag."""
    base = tmp_path_factory.mktemp("models") / "ragged"
    save_ragged(base, 1)
    return f"--model_base_path={base}"


@pytest.fixture(scope="module", name="lists")
def _lists(tmp_path_factory):
    """Rows with `ids`, `words` and `fixed` lists and a `scalar`, as a flag."""
    path = tmp_path_factory.mktemp("data") / "lists.parquet"
    rows = [[1, 2, 3], [4], []]
    table = pa.table(
        {
            "id": range(3),
            "ids": pa.array(rows, pa.list_(pa.int32())),
            "words": pa.array([["a"], [], ["b", "c"]], pa.list_(pa.string())),
            "fixed": pa.array([[1, 2]] * 3, pa.list_(pa.int32(), 2)),
            "scalar": [1, 2, 3],
        }
    )
    pq.write_table(table, path)
    return f"--input={path}"


@pytest.fixture(name="refuse_map")
def _refuse_map(refusal, ragged, lists):
    """Returns the message about a signature with these entries of the input map."""

    def refuse(*entries, signature="serving_default", flags=(), num_lines=2):
        maps = [f"--input_map={each}" for each in entries]
        return refusal(
            ragged, lists, f"--signature_name={signature}", *maps, *flags, num_lines=num_lines
        )

    return refuse


class TestMasks:
    def test_of_a_column_that_is_not_there(self, refuse_map):
        """A column that does not exist is named with the nearest one."""
        message = refuse_map("mask=mask(idss)", "length=len(ids)")
        assert "input mask: float32 [None, None]" in message
        assert "'idss'; did you mean 'ids'?" in message

    @pytest.mark.parametrize("column", ["scalar", "fixed", "words"])
    def test_of_a_column_that_feeds_nothing(self, refuse_map, column):
        """A mask belongs to an input that is fed with lists of the same column."""
        message = refuse_map(f"mask=mask({column})", "length=len(ids)")
        assert (
            f"mask({column}) describes how the lists of column {column!r} are padded, but no input"
            " is fed with them"
        ) in message

    @pytest.mark.parametrize(
        ("entries", "signature", "expected"),
        [
            (
                ["words=mask(words)", "mask=mask(words)"],
                "text",
                "input words: string [None, None] cannot be mask(words)",
            ),
            (
                ["mask=len(ids)", "length=len(ids)"],
                "serving_default",
                "input mask: float32 [None, None] cannot be len(ids), which is [None]",
            ),
            (
                ["mask=mask(ids)", "length=mask(ids)"],
                "serving_default",
                "input length: int64 [None] cannot be mask(ids), which is [None, None]",
            ),
        ],
    )
    def test_for_an_input_of_another_kind(self, refuse_map, entries, signature, expected):
        """A mask is a matrix of numbers, lengths a vector of them."""
        message = refuse_map(*entries, signature=signature, num_lines=message_lines(signature))
        assert expected in message

    def test_input_without_its_mask(self, refuse_map):
        """An input that nothing feeds is named, also where it would be a mask."""
        assert "input mask: float32 [None, None]" in refuse_map("length=len(ids)")

    @pytest.mark.parametrize("source", ["mask()", "mask( )", "len()"])
    def test_without_a_column(self, refuse_map, source):
        """A mask of nothing is refused."""
        refuse_map(f"mask={source}", "length=len(ids)", num_lines=2)


def message_lines(signature):
    """Returns the lines of the message: `text` has two inputs that do not fit."""
    return 3 if signature == "text" else 2


class TestPadding:
    GOOD = ("mask=mask(ids)", "length=len(ids)")

    @pytest.mark.parametrize("value", ["x", "0.5", "", "3000000000"])
    def test_value_of_another_type(self, refuse_map, value):
        """A pad value is a value of its input."""
        message = refuse_map(*self.GOOD, flags=[f"--pad_values=ids={value}"], num_lines=1)
        assert message.startswith(f"--pad_values=ids={value}: ")

    def test_input_that_is_not_padded(self, refuse_map):
        """A pad value is for an input that is padded: a mask is made, not padded."""
        message = refuse_map(*self.GOOD, flags=["--pad_values=mask=1"], num_lines=1)
        assert message == (
            "--pad_values names 'mask', which is no input that is padded; there are: ids"
        )

    def test_nothing_is_padded(self, refusal):
        """Without a padded input a pad value is for nothing."""
        message = refusal("--pad_values=x=1")
        assert message == (
            "--pad_values names 'x', which is no input that is padded; there are none"
        )

    @pytest.mark.parametrize("entry", ["ids", "=3"])
    def test_form(self, refusal, entry):
        """An entry has a tensor and a value."""
        message = refusal(f"--pad_values={entry}")
        assert message == f"--pad_values={entry} is not of the form tensor=value"

    def test_twice(self, refusal):
        """One input has one pad value."""
        message = refusal("--pad_values=ids=1", "--pad_values=ids=2")
        assert message == "--pad_values names the input 'ids' twice"

    @pytest.mark.parametrize("ladder", ["32,16", "16,16", "0,16", "-4"])
    def test_ladder_that_does_not_increase(self, refusal, ladder):
        """Lengths to pad to are 1 or more, and increase."""
        message = refusal(f"--length_ladder={ladder}")
        assert message.startswith(f"--length_ladder={ladder}: ")
        assert "increase" in message

    @pytest.mark.parametrize("ladder", ["", "a", "16,,32", "1.5"])
    def test_ladder_of_no_numbers(self, refusal, ladder):
        """Lengths are whole numbers."""
        message = refusal(f"--length_ladder={ladder}")
        assert message.startswith("argument --length_ladder: expected a whole number, got ")


class TestSizes:
    @pytest.mark.parametrize(
        ("flag", "value"),
        [
            ("max_batch_size", "0"),
            ("max_batch_cells", "0"),
            ("max_enqueued_batches", "-1"),
        ],
    )
    def test_not_positive(self, refusal, flag, value):
        """Counts are 1 or more."""
        assert refusal(f"--{flag}={value}") == f"--{flag} must be 1 or more, got {value}"

    @pytest.mark.parametrize("value", ["abc", "Auto", "1.5", "", "1e6"])
    def test_no_number(self, refusal, value):
        """A size is a number, or auto."""
        message = refusal(f"--max_batch_size={value}")
        assert message.startswith(
            "argument --max_batch_size: expected a whole number or auto, got "
        )

    @pytest.mark.parametrize("sizes", ["16,8", "8,8", "0,8", "-1"])
    def test_allowed_sizes_that_do_not_increase(self, refusal, sizes):
        """Allowed sizes are 1 or more, and increase."""
        message = refusal(f"--allowed_batch_sizes={sizes}")
        assert message.startswith("allowed_batch_sizes must be increasing and 1 or more, got [")

    def test_allowed_sizes_that_end_elsewhere(self, refusal):
        """The largest allowed size is the largest size."""
        message = refusal("--allowed_batch_sizes=8,16", "--max_batch_size=32")
        assert "must end in max_batch_size=32, got [8, 16]: write [8, 16, 32]" in message

    def test_timeout(self, refusal):
        """A wait is 0 or more."""
        message = refusal("--batch_timeout_micros=-1")
        assert message == "--batch_timeout_micros must be 0 or more, got -1"

    def test_padding_policy(self, refusal):
        """An unknown policy is refused with those there are."""
        message = refusal("--batch_padding_policy=pad")
        assert message == "--batch_padding_policy must be one of PAD_UP, BATCH_DOWN, got 'pad'"


class TestFiles:
    def _refuse(self, refusal, tmp_path, content):
        path = tmp_path / "batching.pbtxt"
        path.write_bytes(content)
        message = refusal(f"--batching_parameters_file={path}")
        assert str(path) in message
        return message

    def test_missing(self, refusal, tmp_path):
        """A file that is not there is named."""
        path = tmp_path / "gone.pbtxt"
        message = refusal(f"--batching_parameters_file={path}")
        assert message == f"there is no batching parameters file at {path}"

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            (b"max_batch_sice { value: 8 }", "max_batch_sice"),
            (b"max_batch_size: 8", "Write max_batch_size { value: 128 }"),
            (b"max_batch_size { value: 0 }", "max_batch_size must be 1 or more, got 0"),
            (b"max_batch_size { value: 9 } allowed_batch_sizes: 8", "must end in max_batch_size=9"),
            (b"\xff\xfe\x00\x01\x80", "UTF-8"),
            (b"{", ""),
        ],
    )
    def test_content(self, refusal, tmp_path, content, expected):
        """What does not parse, or does not go together, is told with the file."""
        assert expected in self._refuse(refusal, tmp_path, content)

    def test_directory(self, refusal, tmp_path):
        """A directory is no file."""
        assert refusal(f"--batching_parameters_file={tmp_path}") == (
            f"the batching parameters file {tmp_path} is a directory; expected a text proto"
        )

    def test_of_a_model(self, refusal, tmp_path):
        """A model's own file is checked before anything is written."""
        version = save_linear(tmp_path / "m", 1, num_features=3)
        with open(f"{version}/batching_params.pbtxt", "w") as file:  # noqa: PTH123 - a path as text
            file.write("nonsense: 3")
        message = refusal(f"--model_base_path={tmp_path}/m", "--input_map=features=x")
        assert f"{version}/batching_params.pbtxt" in message
        assert "nonsense" in message


def test_nulls_in_lists(ragged, tmp_path, output, capfd):
    """A null within a list is found when it is read: the unit fails, and its row is named."""
    rows = pa.array([[1] * 20, [2, None], [3]], pa.list_(pa.int32()))
    pq.write_table(pa.table({"id": range(3), "ids": rows}), tmp_path / "rows.parquet")
    code = main(
        [
            "precompute",
            ragged,
            f"--input={tmp_path}/rows.parquet",
            f"--output={output}",
            "--input_map=mask=mask(ids)",
            "--input_map=length=len(ids)",
        ]
    )
    message = capfd.readouterr().err
    assert code == 1
    assert f"column 'ids' has 1 nulls in a batch of 3, the first at row 1 of {tmp_path}" in message
    assert "Traceback" not in message

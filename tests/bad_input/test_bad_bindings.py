"""Data that do not fit the signature, and flags that name what is not there."""

import pyarrow as pa
import pytest

from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from tests.bad_input.conftest import vectors
from tests.models import save_signatures

_MISFIT = "signature 'serving_default' of model ranker/3 does not fit the data:\n  "
_X = "input x: float32 [None, 3]"


class TestUnboundInputs:
    def test_single_input_gets_the_exact_flag(self, refusal, write_rows):
        """One input and one column that fits it: the message is the flag to give."""
        flag = write_rows(id=[1], features=vectors([[1, 2, 3]]), name=["a"])
        assert refusal(flag, num_lines=2) == (
            f"{_MISFIT}{_X} has no column of that name; give --input_map=x=features"
        )

    def test_columns_that_stack_to_the_input(self, refusal, write_rows):
        """As many numeric columns as the input is wide are listed in a flag to copy."""
        flag = write_rows(id=[1], a=[1.0], b=[2.0], c=[3.0])
        assert refusal(flag, num_lines=2).endswith("; give --input_map=x=[a,b,c]")

    def test_close_match(self, refusal, write_rows):
        """Columns with a similar name are named."""
        message = refusal(
            write_rows(id=[1], leftt=[1.0], right=[2.0]), "--signature_name=wide", num_lines=2
        )
        assert message == (
            "signature 'wide' of model ranker/3 does not fit the data:\n"
            "  input left: float32 [None] has no column of that name; the closest: leftt;"
            " give --input_map=left=leftt"
        )

    def test_all_problems_at_once(self, refusal, write_rows):
        """Every input that does not fit has a line of its own."""
        message = refusal(write_rows(id=[1], left=["a"]), "--signature_name=wide", num_lines=3)
        assert "input left: float32 [None] cannot take left (string)" in message
        assert "input right: float32 [None] has no column of that name" in message

    def test_no_column_fits(self, refusal, write_rows):
        """Where nothing is similar the message lists what there is."""
        message = refusal(write_rows(id=[1], q=["a"]), num_lines=2)
        assert message.endswith("; give --input_map=x=COLUMN, with one of: id, q")


class TestColumnsThatCannotBind:
    @pytest.mark.parametrize(
        ("column", "words"),
        [
            (pa.array(["a"]), "x (string): there is no cast from string to float32"),
            (
                vectors([["a", "b", "c"]], value_type=pa.string()),
                "there is no cast from string to float32",
            ),
            (
                pa.array([None], pa.timestamp("us")),
                "there is no cast from timestamp[us] to float32",
            ),
            (pa.array([{"a": 1.0}]), "there is no cast from struct<a: double> to float32"),
        ],
        ids=["string", "strings", "timestamp", "struct"],
    )
    def test_dtype(self, refusal, write_rows, column, words):
        """A column whose values are no numbers is named with both types and the way out."""
        message = refusal(write_rows(id=[1], x=column), num_lines=2)
        assert message.startswith(f"{_MISFIT}{_X} cannot take x (")
        assert words in message
        assert message.endswith("that keeps the values; convert with --preprocess")

    @pytest.mark.parametrize(
        ("column", "words"),
        [
            (pa.array([1.0]), "one row would be a single value"),
            (vectors([[1, 2]], 2), "one row would be 2 values"),
            (vectors([[1, 2, 3, 4]], 4), "one row would be 4 values"),
        ],
        ids=["scalar", "short", "long"],
    )
    def test_rank(self, refusal, write_rows, column, words):
        """A row of another size is named with both sizes and the way out."""
        message = refusal(write_rows(id=[1], x=column), num_lines=2)
        assert message.startswith(f"{_MISFIT}{_X} cannot take x (")
        assert f"{words}; choose columns with --input_map=x=..., or reshape" in message

    def test_list_for_a_scalar_input(self, refusal, write_rows):
        """A vector cannot feed an input that takes one value a row."""
        flag = write_rows(id=[1], left=vectors([[1, 2, 3]]), right=[1.0])
        message = refusal(flag, "--signature_name=wide", num_lines=2)
        assert "input left: float32 [None] cannot take left" in message
        assert "one row would be 3 values" in message

    def test_two_columns_of_one_name(self, refusal, tmp_path):
        """Two columns that are called the same cannot be told apart."""
        import pyarrow.parquet as pq

        column = vectors([[1, 2, 3]])
        table = pa.Table.from_arrays([pa.array([1]), column, column], names=["id", "x", "x"])
        pq.write_table(table, tmp_path / "twice.parquet")
        message = refusal(f"--input={tmp_path}/twice.parquet", num_lines=2)
        assert message == f"{_MISFIT}{_X}: the data have several columns called 'x'; rename them"

    def test_float_to_integer(self, refusal, write_rows, tmp_path):
        """Floats are never truncated to feed an integer input."""
        tf = import_tensorflow()
        specs = {"n": tf.TensorSpec([None], tf.int32)}
        save_signatures(tmp_path / "m", 1, {"serving_default": (lambda n: {"y": n}, specs)})
        flags = [f"--model_base_path={tmp_path}/m", write_rows(id=[1], n=[1.5])]
        assert "there is no cast from double to int32" in refusal(*flags, num_lines=2)


class TestFlagsThatNameNothing:
    def test_unknown_tensor_in_input_map(self, refusal):
        """A tensor that the signature does not take is named beside those that it takes."""
        message = refusal("--input_map=features=x", num_lines=2)
        assert (
            message
            == f"{_MISFIT}--input_map names 'features', which is no input of it; there are: x"
        )

    def test_unknown_column_in_input_map(self, refusal):
        """A column that is not there is named with its closest match."""
        message = refusal("--input_map=x=txt", num_lines=2)
        assert message == (
            f"{_MISFIT}{_X}: --input_map names a column that the data do not have: 'txt';"
            " did you mean 'text'?"
        )

    def test_stacked_lists(self, refusal):
        """Only scalar columns can be stacked."""
        message = refusal("--input_map=x=[x,id]", num_lines=2)
        assert f"{_X}: only scalar columns can be stacked, got x (" in message

    @pytest.mark.parametrize("entry", ["x", "=x", "x=", " = "])
    def test_malformed_input_map(self, refusal, entry):
        """An entry of another form is repeated with the form that was expected."""
        assert refusal(f"--input_map={entry}") == (
            f"--input_map={entry} is not of the form tensor=column, tensor=[column1,column2],"
            " tensor=mask(column), tensor=len(column) or tensor=example(column1,column2)"
        )

    @pytest.mark.parametrize("entry", ["x=[a,b", "x=[a,,b]", "x=[]"])
    def test_malformed_list(self, refusal, entry):
        """A list that is not closed, or names nothing, is repeated with its form."""
        assert refusal(f"--input_map={entry}") == (
            f"--input_map={entry}: a list of columns is written tensor=[column1,column2]"
        )

    def test_input_mapped_twice(self, refusal):
        """One input is fed once."""
        message = refusal("--input_map=x=x", "--input_map=x=id")
        assert message == "--input_map names the input 'x' twice"

    @pytest.mark.parametrize("flag", ["--key", "--passthrough"])
    def test_unknown_copied_column(self, refusal, flag):
        """A column to copy that is not there is named with its closest match."""
        assert refusal(f"{flag}=texts") == (
            f"{flag}=texts: the data have no such column; did you mean 'text'?"
        )

    def test_unknown_copied_column_lists_all(self, refusal):
        """Where nothing is similar the message lists what there is."""
        assert refusal("--passthrough=text,zzz") == (
            "--passthrough=zzz: the data have no such column; there are: id, x, text"
        )

    def test_unknown_output(self, refusal):
        """An output that the signature does not return is named with its closest match."""
        assert refusal("--output_tensors=scores") == (
            "--output_tensors names 'scores', which signature 'serving_default' of model ranker/3"
            " does not return; did you mean 'score'?"
        )

    @pytest.mark.parametrize("entry", ["=a", "score="])
    def test_malformed_rename(self, refusal, entry):
        """A rename without one of its sides is repeated with its form."""
        assert refusal(f"--output_tensors={entry}") == (
            f"--output_tensors={entry} is not of the form output or output=column"
        )

    def test_output_named_twice(self, refusal):
        """One output is kept once."""
        message = refusal("--output_tensors=score,score=again")
        assert message == "--output_tensors names the output 'score' twice"


class TestCollidingNames:
    @pytest.mark.parametrize(
        ("flags", "name"),
        [
            (["--output_tensors=score=id"], "id"),
            (["--output_tensors=score=text", "--passthrough=text"], "text"),
        ],
    )
    def test_output_and_copied_column(self, refusal, flags, name):
        """Two output columns of one name are refused with the flag that renames one."""
        assert refusal(*flags) == (
            f"two output columns would be called {name!r}; rename the model's output with"
            " --output_tensors=score=NEW_NAME"
        )

    def test_output_named_like_the_source_columns(self, refusal):
        """Without a key `source_file` and `source_row` are taken."""
        message = refusal("--output_tensors=score=source_row", without=["--key"])
        assert message.startswith("two output columns would be called 'source_row'; rename")

    def test_data_with_a_source_column(self, refusal, write_rows):
        """Data that have a `source_file` of their own need a key."""
        flag = write_rows(id=[1], x=vectors([[1, 2, 3]]), source_file=["a"])
        assert refusal(flag, "--passthrough=source_file", without=["--key"]) == (
            "the data have a column 'source_file', which is what rows without a key get;"
            " give --key=COLUMN"
        )

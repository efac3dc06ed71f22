import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest

from pipelines.cli import main
from tests.datasets import write_parquet, write_tfrecord
from tests.models import (
    only_input,
    save_examples,
    save_keras_sequential,
    save_linear,
    save_ragged,
    save_ranks,
    save_scalars,
)


def _inspect(capsys, base, *flags):
    """Runs the command, checks that it went well, and returns the lines of its report."""
    code = main(["inspect", f"--model_base_path={base}", *flags])
    captured = capsys.readouterr()
    assert (code, captured.err) == (0, "")
    return captured.out.splitlines()


def _section(lines, first):
    """Returns the lines below `first`, up to the next empty one."""
    start = lines.index(first) + 1
    end = lines.index("", start) if "" in lines[start:] else len(lines)
    return [each.strip() for each in lines[start:end]]


@pytest.fixture(name="data")
def _data(tmp_path):
    """Parquet with scalars of several types and a list."""
    matrix = np.zeros((30, 4), np.float32)
    table = pa.table(
        {
            "id": pa.array(range(30), pa.int64()),
            "age": pa.array(np.zeros(30)),
            "incomes": pa.array(np.zeros(30, np.float32)),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), 4),
            "note": pa.array(["x"] * 30),
        }
    )
    write_parquet(table, tmp_path / "data", [20, 10], 7)
    return tmp_path / "data"


class TestModel:
    def test_versions_signatures_types_and_shapes(self, tmp_path, capsys):
        """Each version lists its signatures with the dtype and shape of each input and output."""
        base = tmp_path / "m"
        save_linear(base, 2, num_features=7)
        save_ranks(base, 11)
        lines = _inspect(capsys, base)
        assert lines[0] == f"{base}: versions 2, 11"
        assert _section(lines, "version 2") == [
            "signature serving_default",
            "input   features: float32 [None, 7]",
            "output  score: float32 [None, 1]",
        ]
        assert _section(lines, "version 11") == [
            "signature doubled",
            "input   x: float32 [None]",
            "output  twice: float32 [None]",
            "signature serving_default",
            "input   x: float32 [None]",
            "output  column: float32 [None, 1]",
            "output  label: string [None]",
            "output  matrix: float32 [None, 2, 2]",
            "output  row: float32 [None, 3]",
            "output  scalar: float32 [None]",
        ]

    def test_version_and_signature_can_be_chosen(self, tmp_path, capsys):
        """`--model_version` and `--signature_name` narrow the report."""
        save_linear(tmp_path / "m", 1)
        save_ranks(tmp_path / "m", 2)
        lines = _inspect(
            capsys, tmp_path / "m", "--model_version=latest", "--signature_name=doubled"
        )
        assert lines[0].endswith("versions 1, 2")
        assert "version 1" not in lines
        assert _section(lines, "version 2") == [
            "signature doubled",
            "input   x: float32 [None]",
            "output  twice: float32 [None]",
        ]

    @pytest.mark.parametrize("what", ["truncated", "no_variables"])
    def test_a_broken_version_is_part_of_the_report(self, what, tmp_path, capsys):
        """A version that cannot be served is told beside those that can."""
        base = tmp_path / "m"
        save_linear(base, 1)
        save_linear(base, 2)
        if what == "truncated":
            (base / "2/saved_model.pb").write_bytes(b"\xff\xff\xff")
            expected = f"broken: {base}/2/saved_model.pb is corrupt"
        else:
            (base / "2/variables/variables.index").unlink()
            expected = f"broken: {base}/2 is half-copied"
        lines = _inspect(capsys, base)
        assert _section(lines, "version 1")[0] == "signature serving_default"
        broken = _section(lines, "version 2")
        assert len(broken) == 1
        assert broken[0].startswith(expected)


class TestBinding:
    def test_schema_and_bindings(self, data, tmp_path, capsys):
        """With data, its schema is shown, and for each input the column and the cast."""
        save_scalars(tmp_path / "m", 1, ["age", "incomes"])
        lines = _inspect(capsys, tmp_path / "m", f"--input={data}/*.parquet")
        schema = _section(lines, f"input {data}/*.parquet: Parquet, 2 files, 30 rows")
        assert schema == [
            "id: int64",
            "age: double",
            "incomes: float",
            "vector: fixed_size_list<float>[4]",
            "note: string",
        ]
        assert _section(lines, "version 1") == [
            "signature serving_default",
            "input   age: float32 [None] <- age (rounded to the nearest, overflow checked)",
            "input   incomes: float32 [None] <- incomes",
            "output  score: float32 [None]",
        ]

    def test_close_match_of_an_input_that_does_not_bind(self, data, tmp_path, capsys):
        """An input without a column of its name says so, with the column that may be meant."""
        save_scalars(tmp_path / "m", 1, ["age", "income"])
        section = _section(_inspect(capsys, tmp_path / "m", f"--input={data}"), "version 1")
        assert section[1].startswith("input   age: float32 [None] <- age")
        assert section[2] == (
            "cannot bind: input income: float32 [None] has no column of that name;"
            " the closest: incomes; give --input_map=income=incomes"
        )

    def test_single_input_gets_the_exact_flag(self, data, tmp_path, capsys):
        """Of a lone input the report gives the flag that binds it, and with it all is well."""
        path = save_keras_sequential(tmp_path / "m", 1)
        name = only_input(path)
        flag = f"--input_map={name}=vector"
        section = _section(_inspect(capsys, tmp_path / "m", f"--input={data}"), "version 1")
        assert section[1].startswith(f"cannot bind: input {name}: float32 [None, 4]")
        assert section[1].endswith(f"; give {flag}")
        section = _section(_inspect(capsys, tmp_path / "m", f"--input={data}", flag), "version 1")
        assert section[1] == f"input   {name}: float32 [None, 4] <- vector"

    def test_type_that_cannot_feed_an_input(self, data, tmp_path, capsys):
        """A column of a type that does not fit is named with its type."""
        save_scalars(tmp_path / "m", 1, ["note"])
        section = _section(_inspect(capsys, tmp_path / "m", f"--input={data}"), "version 1")
        assert section[1].startswith(
            "cannot bind: input note: float32 [None] cannot take note (string): there is no cast"
        )

    def test_tfrecord(self, tmp_path, capsys):
        """Features are shown as the columns they are parsed to; records feed a string input."""
        columns = {
            "id": np.arange(5),
            "x": np.ones(5, np.float32),
            "v": np.ones((5, 3), np.float32),
            "s": np.array([b"a"] * 5, dtype=object),
        }
        write_tfrecord(columns, tmp_path / "a.tfrecord.gz", compression="GZIP")
        save_examples(tmp_path / "m", 1, ["x"])
        save_scalars(tmp_path / "m", 2, ["x"])
        pattern = f"{tmp_path}/*.tfrecord.gz"
        lines = _inspect(capsys, tmp_path / "m", f"--input={pattern}")
        schema = _section(lines, f"input {pattern}: TFRecord of tf.train.Example, 1 files")
        assert schema == ["id: int64", "s: binary", "v: fixed_size_list<float>[3]", "x: float"]
        assert _section(lines, "version 1")[1] == (
            "input   examples: string [None] <- serialized Examples"
        )
        assert _section(lines, "version 2")[1] == "input   x: float32 [None] <- x"


class TestBindingFlags:
    """All flags of a job that change how data are bound."""

    @pytest.fixture(name="ragged")
    def _ragged(self, tmp_path):
        """Flags of a model with an input of varying length, and data for it."""
        save_ragged(tmp_path / "m", 1)
        table = pa.table({"ids": pa.array([[1], [2, 3], None], pa.list_(pa.int32()))})
        write_parquet(table, tmp_path / "in", [3], 3)
        given = ["--signature_name=serving_default", f"--input={tmp_path}/in"]
        derived = ["--input_map=mask=mask(ids)", "--input_map=length=len(ids)"]
        return [f"--model_base_path={tmp_path}/m", *given, *derived]

    def _report(self, capsys, flags):
        assert main(["inspect", *flags]) == 0
        return [each.strip() for each in capsys.readouterr().out.splitlines()]

    def test_lists_of_varying_length_are_padded_if_that_is_asked_for(self, tmp_path, capsys):
        """`--pad_variable_length_inputs` does it without a mask, as does a file for a server."""
        save_ragged(tmp_path / "m", 1)
        table = pa.table({"ids": pa.array([[1], [2, 3]], pa.list_(pa.int32()))})
        write_parquet(table, tmp_path / "in", [2], 2)
        (tmp_path / "batching").write_text("pad_variable_length_inputs: true")
        flags = [f"--model_base_path={tmp_path}/m", f"--input={tmp_path}/in"]
        flags.append("--signature_name=largest")
        pads = "--pad_variable_length_inputs"
        file = f"--batching_parameters_file={tmp_path}/batching"
        for more, note in ([[], ""], [[pads], " (padded)"], [[file], " (padded)"]):
            lines = self._report(capsys, [*flags, *more])
            (line,) = [each for each in lines if each.startswith("input   ")]
            assert line == f"input   ids: int32 [None, None] <- ids{note}"

    @pytest.mark.parametrize("flag", ["--pad_values=ids=-5", "--length_ladder=4,8"])
    def test_what_lists_are_padded_with_and_to(self, flag, ragged, capsys):
        """Values that fit change nothing in the report."""
        assert self._report(capsys, [*ragged, flag]) == self._report(capsys, ragged)

    @pytest.mark.parametrize(
        ("flag", "expected"),
        [
            ("--pad_values=ids=x", "cannot bind: --pad_values=ids=x: 'x' is no value of ids"),
            ("--on_null=default:x", "cannot bind: --on_null=default:x: 'x' is no value of column"),
        ],
    )
    def test_values_that_do_not_fit_are_part_of_the_report(self, flag, expected, ragged, capsys):
        """In the words of `precompute`."""
        lines = self._report(capsys, [*ragged, flag])
        assert any(each.startswith(expected) for each in lines)

    @pytest.mark.parametrize(
        ("flag", "expected"),
        [
            ("--pad_values=mask=1", "'mask', which is no input that is padded; there are: ids"),
            ("--pad_values=ids", "is not of the form tensor=value"),
            ("--input_map=idz=ids", "'idz', which is no input of it; did you mean 'ids'?"),
            ("--length_ladder=8,4", "--length_ladder=8,4: rungs of a length ladder must be"),
            ("--on_null=skip", "--on_null must be error, default:VALUE"),
            ("--input_format=orc", "--input_format must be one of parquet, tfrecord, csv, jsonl"),
            ("--model_version=new", "--model_version: bad version 'new'"),
            ("--preprocess=none", "--preprocess=none is not of the form package.module:function"),
        ],
    )
    def test_flags_that_make_no_sense_are_refused(self, flag, expected, ragged, capsys):
        """As `precompute` refuses them."""
        assert main(["inspect", *ragged, flag]) == 2
        assert expected in capsys.readouterr().err

    def test_binding_of_no_data_is_refused(self, tmp_path, capsys):
        """A flag that has no effect is a mistake."""
        save_linear(tmp_path / "m", 1)
        assert main(["inspect", f"--model_base_path={tmp_path}/m", "--input_map=x=age"]) == 2
        assert capsys.readouterr().err == (
            "error: --input_map says how data are bound, and there are none: give --input, too\n"
        )

    def test_the_columns_that_a_function_adds(self, tmp_path, capsys):
        """`--preprocess` makes what models are bound to; both are shown."""
        save_scalars(tmp_path / "m", 1, ["ratio"])
        write_parquet(pa.table({"a": [1.0], "b": [2.0]}), tmp_path / "in", [1], 1)
        flags = [
            f"--input={tmp_path}/in",
            "--preprocess=tests.pipelines.batch_functions:only_ratio",
        ]
        lines = _inspect(capsys, tmp_path / "m", *flags)
        assert lines[2:7] == [
            f"input {tmp_path}/in: Parquet, 1 files, 1 rows",
            "  a: double",
            "  b: double",
            "after --preprocess=tests.pipelines.batch_functions:only_ratio",
            "  ratio: double",
        ]
        assert _section(lines, "version 1")[1].startswith("input   ratio: float32 [None] <- ratio")

    def test_several_signatures_as_one(self, tmp_path, capsys):
        """`--signature_name=a,b` is what a job would run."""
        save_ranks(tmp_path / "m", 1)
        lines = _inspect(capsys, tmp_path / "m", "--signature_name=doubled,serving_default")
        assert _section(lines, "version 1")[:2] == [
            "signature doubled,serving_default",
            "input   x: float32 [None]",
        ]


@pytest.mark.parametrize(
    "argv", [["--help"], ["precompute", "--help"], ["inspect", "--help"], ["demo", "--help"]]
)
def test_help_imports_nothing_slow(argv):
    """`--help` answers without importing Beam or TensorFlow."""
    code = f"""
import sys
from pipelines.cli import main
try:
    code = main({argv!r})
except SystemExit as error:
    code = error.code
slow = [name for name in sys.modules if name.split(".")[0] in ("apache_beam", "tensorflow", "keras")]
print("exit", code, slow)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert "usage: run_pipeline.py" in done.stdout
    assert done.stdout.splitlines()[-1] == "exit 0 []"

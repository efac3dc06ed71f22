from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.datasets import write_parquet
from tests.jobs import read_output, run_job, values
from tests.models import (
    call_model,
    only_input,
    save_identity,
    save_keras_functional,
    save_keras_sequential,
    save_ranks,
    save_text,
    save_tf1,
)

NUM_ROWS = 300
IDS = pa.array(range(NUM_ROWS), pa.int64())
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
NUMERIC = (*INTEGERS, "float16", "float32", "float64")


def _matrix(num_features=4):
    random = np.random.default_rng(1)
    return random.normal(size=(NUM_ROWS, num_features)).astype(np.float32)


def _list_column(matrix):
    return pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])


def _extremes(dtype):
    """Values of a dtype with its smallest and largest among them; NaN and infinities of floats."""
    kind = np.dtype(dtype).kind
    info = np.finfo(dtype) if kind == "f" else np.iinfo(dtype)
    column = np.arange(NUM_ROWS).astype(dtype)
    column[:2] = info.min, info.max
    if kind == "f":
        column[2:5] = np.nan, np.inf, -np.inf
    return column


def _run(path, columns, tmp_path, **options):
    """Runs a job over `columns` in two files of several row groups, and returns its output."""
    table = pa.table({"id": IDS, **columns})
    write_parquet(table, tmp_path / "in", [200, 100], 64)
    run_job(
        Path(path).parent, tmp_path / "in", tmp_path / "out", key="id", max_batch_size=77, **options
    )
    output = read_output(tmp_path / "out")
    assert output["id"].to_pylist() == list(range(NUM_ROWS))
    return output


class TestExports:
    def test_tf1_graph_with_variables(self, tmp_path):
        """A SavedModel of TF1's builder runs with its variables and all its outputs."""
        path, matrix = save_tf1(tmp_path / "m", 1), _matrix()
        output = _run(path, {"x": _list_column(matrix)}, tmp_path)
        expected = call_model(path, x=matrix)
        np.testing.assert_allclose(values(output["y"]), expected["y"], rtol=1e-5, atol=1e-6)
        assert values(output["argmax"]).tolist() == np.argmax(matrix, axis=1).tolist()

    def test_keras_sequential(self, tmp_path):
        """A Keras export names its tensors itself; `--input_map` says which column feeds it."""
        path, matrix = save_keras_sequential(tmp_path / "m", 1), _matrix()
        name = only_input(path)
        assert name.startswith("keras_tensor")
        options = {"input_map": (f"{name}=features",)}
        output = _run(path, {"features": _list_column(matrix)}, tmp_path, **options)
        expected = call_model(path, **{name: matrix})["output_0"]
        assert expected.shape == (NUM_ROWS, 2)
        np.testing.assert_allclose(values(output["output_0"]), expected, rtol=1e-5, atol=1e-6)

    def test_keras_functional_with_named_inputs(self, tmp_path):
        """Scalar columns bind to named [None, 1] inputs, and a [N, 1] output is a scalar column."""
        path = save_keras_functional(tmp_path / "m", 1, ["age", "income"])
        age, income = _matrix(2).T
        output = _run(path, {"income": income, "age": age}, tmp_path)
        expected = call_model(path, age=age.reshape(-1, 1), income=income.reshape(-1, 1))
        assert output.schema.field("probability").type == pa.float32()
        np.testing.assert_allclose(
            values(output["probability"]), expected["probability"][:, 0], rtol=1e-5, atol=1e-6
        )


class TestTypes:
    def test_every_numeric_type_keeps_its_values(self, tmp_path):
        """Integers and floats of all widths arrive and leave as they are, extremes included."""
        path = save_identity(tmp_path / "m", 1, NUMERIC)
        columns = {dtype: _extremes(dtype) for dtype in NUMERIC}
        output = _run(path, columns, tmp_path)
        for dtype, column in columns.items():
            found = values(output[f"{dtype}_out"])
            assert found.dtype == np.dtype(dtype)
            np.testing.assert_array_equal(found, column, err_msg=dtype)

    def test_bool(self, tmp_path):
        """Booleans, which Arrow packs as bits, keep their values in every batch."""
        path = save_identity(tmp_path / "m", 1, ["bool"])
        column = np.random.default_rng(2).random(NUM_ROWS) < 0.5
        output = _run(path, {"bool": pa.array(column)}, tmp_path)
        assert output.schema.field("bool_out").type == pa.bool_()
        assert values(output["bool_out"]).tolist() == column.tolist()

    @pytest.mark.parametrize(
        ("source", "dtype"),
        [
            ("int32", "int64"),
            ("int64", "int32"),
            ("int8", "float32"),
            ("int64", "float64"),
            ("float64", "float32"),
            ("float32", "float16"),
            ("float16", "float64"),
            ("uint8", "int32"),
            ("bool", "float32"),
            ("int64", "bool"),
        ],
    )
    def test_values_are_cast_to_the_type_of_the_input(self, source, dtype, tmp_path):
        """A column of another type feeds an input where the values survive the cast."""
        path = save_identity(tmp_path / "m", 1, [dtype])
        top = 2 if "bool" in (source, dtype) else 100
        column = (np.arange(NUM_ROWS) % top).astype(source)
        output = _run(path, {dtype: pa.array(column)}, tmp_path)
        assert values(output[f"{dtype}_out"]).tolist() == column.astype(dtype).tolist()

    @pytest.mark.parametrize("arrow_type", [pa.string(), pa.large_string(), pa.binary()])
    def test_strings_in_and_out(self, arrow_type, tmp_path):
        """Strings reach the model byte by byte, and its strings reach the output."""
        path = save_text(tmp_path / "m", 1)
        words = ["", "plain", "Grüße", "a\x00b\x00", "日本"] * (NUM_ROWS // 5)
        output = _run(
            path, {"text": pa.array([w.encode() for w in words]).cast(arrow_type)}, tmp_path
        )
        assert values(output["length"]).tolist() == [len(w.encode()) for w in words]
        upper = output["upper"].cast(pa.binary()).to_pylist()
        assert upper == call_model(path, text=[w.encode() for w in words])["upper"].tolist()
        assert upper[1] == b"PLAIN"
        assert upper[3] == b"A\x00B\x00"

    def test_dictionary_encoded_strings(self, tmp_path):
        """A dictionary-encoded column, such as pandas writes for categories, feeds a string input."""
        path = save_text(tmp_path / "m", 1)
        words = ["red", "green", "blue"] * (NUM_ROWS // 3)
        output = _run(path, {"text": pa.array(words).dictionary_encode()}, tmp_path)
        assert output["upper"].cast(pa.string()).to_pylist() == [w.upper() for w in words]

    @pytest.mark.parametrize("list_type", [pa.list_, pa.large_list])
    def test_variable_lists_of_one_length_feed_a_matrix(self, list_type, tmp_path):
        """Lists that happen to be of the length the model takes are as good as fixed-size ones."""
        path, matrix = save_tf1(tmp_path / "m", 1), _matrix()
        column = pa.array(matrix.tolist(), list_type(pa.float32()))
        output = _run(path, {"x": column}, tmp_path)
        np.testing.assert_allclose(
            values(output["y"]), call_model(path, x=matrix)["y"], rtol=1e-5, atol=1e-6
        )


class TestOutputs:
    @pytest.fixture(scope="class", name="ranks")
    def _ranks(self, tmp_path_factory):
        return save_ranks(tmp_path_factory.mktemp("ranks") / "m", 1)

    def test_outputs_of_several_ranks(self, ranks, tmp_path):
        """[N] and [N, 1] become scalars, [N, 3] a fixed-size list, [N, 2, 2] a list of lists."""
        x = _matrix(1)[:, 0]
        output = _run(ranks, {"x": x}, tmp_path)
        types = {name: output.schema.field(name).type for name in output.column_names}
        assert types["scalar"] == types["column"] == pa.float32()
        assert (types["row"].list_size, types["row"].value_type) == (3, pa.float32())
        assert (types["matrix"].list_size, types["matrix"].value_type.list_size) == (2, 2)
        expected = call_model(ranks, x=x)
        for name in ("scalar", "column", "row", "matrix"):
            found = values(output[name])
            shape = (NUM_ROWS,) if name == "column" else expected[name].shape
            assert found.shape == shape
            np.testing.assert_allclose(
                found, expected[name].reshape(shape), rtol=1e-5, atol=1e-6, err_msg=name
            )
        assert output["label"].cast(pa.binary()).to_pylist() == expected["label"].tolist()

    def test_output_tensors_keeps_and_renames(self, ranks, tmp_path):
        """`--output_tensors` writes what it names, in its order, under the new names."""
        x = _matrix(1)[:, 0]
        options = {"output_tensors": ("row=triple", "scalar")}
        _run(ranks, {"x": x}, tmp_path, **options)
        part = next((tmp_path / "out").glob("model_name=m/model_version=1/*.parquet"))
        assert pq.read_schema(part).names == ["id", "triple", "scalar"]
        expected = call_model(ranks, x=x)
        output = read_output(tmp_path / "out")
        np.testing.assert_allclose(values(output["triple"]), expected["row"], rtol=1e-6)
        np.testing.assert_allclose(values(output["scalar"]), expected["scalar"], rtol=1e-6)

    def test_signature_name(self, ranks, tmp_path):
        """`--signature_name` runs another signature, with its outputs only."""
        x = _matrix(1)[:, 0]
        output = _run(ranks, {"x": x}, tmp_path, signature_name="doubled")
        assert output.column_names == ["id", "twice", "model_name", "model_version"]
        np.testing.assert_array_equal(values(output["twice"]), 2 * x)

"""`--input_map=examples=example(...)`: a model of serialized Examples on data that are none."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.cli import main
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from tests.datasets import write_tfrecord
from tests.jobs import read_output, run_job
from tests.models import save_signatures

NUM_ROWS = 500
_MAP = ("examples=example(age,ids,word)",)


@pytest.fixture(scope="module", name="base")
def _base(tmp_path_factory):
    """A model that parses a number that may lack, a list of varying length, and text."""
    tf = import_tensorflow()
    features = {
        "age": tf.io.FixedLenFeature([], tf.float32, default_value=-1.0),
        "ids": tf.io.VarLenFeature(tf.int64),
        "word": tf.io.FixedLenFeature([], tf.string),
    }

    def call(examples):
        parsed = tf.io.parse_example(examples, features)
        total = tf.cast(tf.sparse.reduce_sum(parsed["ids"], 1), tf.float32)
        length = tf.cast(tf.strings.length(parsed["word"]), tf.float32)
        return {"score": parsed["age"] + 100.0 * total + 10_000.0 * length}

    base = tmp_path_factory.mktemp("models") / "parsing"
    signature = {"examples": tf.TensorSpec([None], tf.string, name="examples")}
    save_signatures(base, 1, {"serving_default": (call, signature)})
    return base


def _columns(num_rows=NUM_ROWS):
    rng = np.random.default_rng(7)
    return {
        "id": list(range(num_rows)),
        "age": [float(each) for each in rng.integers(0, 90, num_rows)],
        "ids": [rng.integers(0, 9, 1 + row % 4).tolist() for row in range(num_rows)],
        "word": ["w" * (row % 3) for row in range(num_rows)],
    }


def _expected(columns):
    return [
        (-1.0 if age is None else age) + 100.0 * sum(ids) + 10_000.0 * len(word)
        for age, ids, word in zip(columns["age"], columns["ids"], columns["word"], strict=True)
    ]


def _write(tmp_path, columns, **types):
    table = pa.table({name: pa.array(each, types.get(name)) for name, each in columns.items()})
    pq.write_table(table, tmp_path / "rows.parquet", row_group_size=100)
    return tmp_path / "rows.parquet"


@pytest.mark.parametrize(
    "source", ["example(age,ids,word)", "example( word, ids ,age )", "example(*)"]
)
def test_rows_of_parquet_are_encoded(base, tmp_path, source):
    """The order of the features does not matter, nor do those that the model does not parse."""
    columns = _columns()
    inputs = _write(tmp_path, columns, age=pa.float32())
    run_job(base, inputs, tmp_path / "out", key="id", input_map=(f"examples={source}",))
    scores = read_output(tmp_path / "out")["score"].to_pylist()
    assert scores == _expected(columns)


def test_as_from_tfrecord(base, tmp_path):
    """The same rows as Examples in TFRecord give the same outputs."""
    columns = _columns()
    as_bytes = {**columns, "word": [each.encode() for each in columns["word"]]}
    records = write_tfrecord(as_bytes, tmp_path / "rows.tfrecord")
    run_job(base, records, tmp_path / "a", key="id")
    run_job(base, _write(tmp_path, columns), tmp_path / "b", key="id", input_map=_MAP)
    assert read_output(tmp_path / "a")["score"] == read_output(tmp_path / "b")["score"]


def test_a_null_is_a_feature_that_is_not_there(base, tmp_path):
    """The model's own default stands in for it."""
    columns = _columns()
    columns["age"][3] = None
    inputs = _write(tmp_path, columns)
    run_job(base, inputs, tmp_path / "out", key="id", input_map=_MAP)
    assert read_output(tmp_path / "out")["score"].to_pylist() == _expected(columns)


def test_rows_that_cannot_be_encoded_are_put_aside(base, tmp_path):
    """An Example has no null within a list; other rows are not touched by it."""
    columns = _columns(10)
    columns["ids"][4] = [1, None]
    inputs = _write(tmp_path, columns)
    report = run_job(
        base, inputs, tmp_path / "out", key="id", input_map=_MAP, on_error="dead_letter"
    )
    assert report.manifest["dead_letters"] == {"bind": 1}
    assert read_output(tmp_path / "out")["id"].to_pylist() == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    (message,) = pq.read_table(tmp_path / "out/_dead_letters")["error_message"].to_pylist()
    assert "'ids' has a list with a null in it" in message
    assert "--preprocess" in message, "what can be done is told of an input, not of an output"


def test_rows_that_are_alike(base, tmp_path):
    """With --dedupe what counts are the columns that are encoded."""
    columns = {name: each * 2 for name, each in _columns(50).items()}
    columns["id"] = list(range(100))
    inputs = _write(tmp_path, columns)
    report = run_job(base, inputs, tmp_path / "out", key="id", input_map=_MAP, dedupe=True)
    assert report.manifest["models"][0]["rows_reused"] >= 50
    assert read_output(tmp_path / "out")["score"].to_pylist() == _expected(columns)


def test_inspect_says_how(base, tmp_path, capsys):
    """A model of Examples, and data that are none: the flag is there to be copied."""
    inputs = _write(tmp_path, _columns(5))
    flags = ["inspect", f"--model_base_path={base}", f"--input={inputs}"]
    assert main(flags) == 0
    assert "or example(*) if it takes serialized Examples" in capsys.readouterr().out
    assert main([*flags, "--input_map=examples=example(*)"]) == 0
    assert "examples: string [None] <- example(id, age, ids, word)" in capsys.readouterr().out

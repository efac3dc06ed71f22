import shutil

import numpy as np
import pyarrow as pa
import pytest

from servable_core.batching.ragged_array import RaggedArray
from servable_core.lifecycle import ServableId
from servable_core.runtime.file_system import LocalFileSystem
from servable_core.servables.saved_model.loader import create_saved_model_loader
from servable_core.servables.saved_model.prediction_log import parse_prediction_log, to_array
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from servable_core.servables.saved_model.warmup_file import WARMUP_FILE, read_warmup_requests
from tests.models import call_model, save_linear
from transforms.formats.part_writer import RowTensors
from transforms.formats.prediction_log_writer import LoggedModel, prediction_log_writer
from transforms.storage import create_file

_MODEL = LoggedModel(name="ranker", version=3, signature_name="serving_default")
_DTYPES = [
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "float32", "float64", "complex64",
]  # fmt: skip


@pytest.fixture(name="write")
def _write(tmp_path):
    """Writes tensors of rows, and returns the logs."""

    def write(model=_MODEL, *, num_rows=3, batch_rows=2, **tensors):
        path = tmp_path / "a.tfrecord"
        columns = pa.record_batch({"key": pa.array(range(num_rows))})
        rows = RowTensors(**tensors)
        with create_file(str(tmp_path), str(path)) as sink:
            writer = prediction_log_writer(sink, model)
            for start in range(0, num_rows, batch_rows):
                stop = min(start + batch_rows, num_rows)
                writer.write(columns.slice(start, stop - start), rows.slice(start, stop))
            writer.close()
        return [parse_prediction_log(each) for each in _records(path)]

    return write


def _records(path):
    tf = import_tensorflow()
    return list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())


def _outputs(logs, name="y"):
    return [to_array(name, log.predict_log.response.outputs[name]) for log in logs]


def test_who_was_asked(write):
    """Request, response and metadata name the model, its version and the signature."""
    (log, _, _) = write(outputs={"y": np.zeros(3, np.float32)})
    request, response = log.predict_log.request, log.predict_log.response
    for spec in (request.model_spec, response.model_spec, log.log_metadata.model_spec):
        assert (spec.name, spec.version.value, spec.signature_name) == (
            "ranker",
            3,
            "serving_default",
        )
    assert not request.inputs
    assert not request.output_filter


def test_output_filter(write):
    """What was asked for is in the request."""
    model = LoggedModel(name="m", version=0, signature_name="s", output_filter=("y",))
    (log, *_) = write(model, outputs={"y": np.zeros(3)})
    assert list(log.predict_log.request.output_filter) == ["y"]


@pytest.mark.parametrize("dtype", _DTYPES)
@pytest.mark.parametrize("shape", [(3,), (3, 1), (3, 2, 2), (3, 0)])
def test_numbers(write, dtype, shape):
    """Each row is a tensor of one row, of its own dtype and shape, bit for bit."""
    values = (np.arange(np.prod(shape)).reshape(shape) % 2).astype(dtype)
    logged = _outputs(write(outputs={"y": values}))
    for row, array in enumerate(logged):
        assert (array.dtype, array.shape) == (values.dtype, (1, *shape[1:]))
        np.testing.assert_array_equal(array, values[row : row + 1])


@pytest.mark.parametrize(
    "values",
    [
        np.array([b"a", b"", b"\xff\x00"], object),
        np.array([[b"a", b"b"], [b"", b"c"], [b"long" * 100, b"d"]], object),
        np.array(["a", "", "ç"]),
    ],
)
def test_strings(write, values):
    """Strings are bytes, of any length and shape."""
    texts = [[_bytes(item) for item in np.asarray(row, object).ravel()] for row in values]
    logged = _outputs(write(outputs={"y": values}))
    assert [each.ravel().tolist() for each in logged] == texts
    assert {each.shape for each in logged} == {(1, *values.shape[1:])}


def _bytes(value):
    return value.encode() if isinstance(value, str) else value


@pytest.mark.parametrize("dtype", ["float32", "int64", "object"])
def test_ragged_rows(write, dtype):
    """Rows of different lengths have their own, one of none included."""
    items = [b"a", b"b", b"c"] if dtype == "object" else [1, 2, 3]
    rows = [items, [], items[:1]]
    logged = _outputs(write(outputs={"y": RaggedArray.from_rows(rows, dtype)}))
    assert [each.shape for each in logged] == [(1, 3), (1, 0), (1, 1)]
    assert [each[0].tolist() for each in logged] == rows


def test_ragged_rows_of_vectors(write):
    """So have rows of vectors."""
    values = RaggedArray(np.arange(12, dtype=np.float32).reshape(6, 2), np.array([1, 3, 3, 6]))
    logged = _outputs(write(outputs={"y": values}))
    assert [each.shape for each in logged] == [(1, 2, 2), (1, 0, 2), (1, 3, 2)]
    assert logged[0].tolist() == [[[2.0, 3.0], [4.0, 5.0]]]


def test_tensors_of_tensorflow(write):
    """Serialized records that were fed as a tensor are logged as the strings they are."""
    tf = import_tensorflow()
    logs = write(inputs={"examples": tf.constant([b"a", b"bc", b""])}, outputs={"y": np.zeros(3)})
    inputs = [to_array("examples", log.predict_log.request.inputs["examples"]) for log in logs]
    assert [each.tolist() for each in inputs] == [[b"a"], [b"bc"], [b""]]


def test_warm_up(write, tmp_path):
    """A part with requests, put into a model, warms that model up, and says what it answered."""
    path = save_linear(tmp_path / "ranker", 3)
    features = np.random.default_rng(0).random((3, 4), np.float32)
    scores = call_model(path, features=features)["score"]
    logs = write(inputs={"features": features}, outputs={"score": scores})
    target = tmp_path / "ranker" / "3" / WARMUP_FILE
    target.parent.mkdir(exist_ok=True)
    shutil.copy(tmp_path / "a.tfrecord", target)
    assert len(list(read_warmup_requests(str(target), str(target)))) == 3
    loader = create_saved_model_loader(ServableId("ranker", 3), path, LocalFileSystem(), None)
    loader.load()
    try:
        for row, log in enumerate(logs):
            request = to_array("features", log.predict_log.request.inputs["features"])
            np.testing.assert_array_equal(request, features[row : row + 1])
            answer = loader.servable.predict("serving_default", {"features": request}, ["score"])
            np.testing.assert_allclose(answer["score"], _outputs([log], "score")[0], rtol=1e-6)
    finally:
        loader.unload()


def test_a_request_that_the_model_refuses_fails_its_load(write, tmp_path):
    """The requests are run: one of another shape is told with its record."""
    path = save_linear(tmp_path / "ranker", 3)
    write(inputs={"features": np.zeros((3, 9), np.float32)}, outputs={})
    target = tmp_path / "ranker" / "3" / WARMUP_FILE
    target.parent.mkdir(exist_ok=True)
    shutil.copy(tmp_path / "a.tfrecord", target)
    loader = create_saved_model_loader(ServableId("ranker", 3), path, LocalFileSystem(), None)
    with pytest.raises(Exception, match="record 1 of"):
        loader.load()

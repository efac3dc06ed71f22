import numpy as np
import pytest

from servable_core.errors import DataLossError, InvalidArgumentError
from servable_core.servables.saved_model.prediction_log import parse_prediction_log, to_array
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from servable_core.servables.saved_model.warmup_file import (
    MAX_WARMUP_RECORDS,
    read_warmup_requests,
    write_warmup_requests,
)

_PLACE = "store://model/1/requests"


@pytest.fixture(name="path")
def _path(tmp_path):
    return tmp_path / "1" / "assets.extra" / "requests"


def _read(path):
    return list(read_warmup_requests(str(path), _PLACE))


def _write_records(path, records):
    path.parent.mkdir(parents=True)
    with import_tensorflow().io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)


def _request(value):
    return {"x": np.full((2, 3), value, np.float32)}


class TestWriting:
    def test_is_read_by_the_server(self, path):
        """TensorFlow accepts the checksums; the records hold the requests, in order."""
        write_warmup_requests(path, [_request(1), _request(2)], signature_name="score")
        tf = import_tensorflow()
        records = list(tf.data.TFRecordDataset(str(path)).as_numpy_iterator())
        logs = [parse_prediction_log(each) for each in records]
        requests = [each.predict_log.request for each in logs]
        assert [each.model_spec.signature_name for each in requests] == ["score", "score"]
        read = [tf.make_ndarray(each.inputs["x"]) for each in requests]
        np.testing.assert_array_equal(read, [_request(1)["x"], _request(2)["x"]])

    def test_replaces_what_was_there(self, path):
        """The second file has nothing of the first."""
        write_warmup_requests(path, [_request(1)] * 3, signature_name="score")
        write_warmup_requests(path, [_request(2)], signature_name="score")
        (log,) = _read(path)
        assert to_array("x", log.predict_log.request.inputs["x"])[0, 0] == 2

    def test_too_many(self, path):
        """What could not be loaded is not written."""
        with pytest.raises(InvalidArgumentError, match="can hold 1000 warm-up requests, got 1001"):
            write_warmup_requests(path, [_request(1)] * 1001, signature_name="score")
        assert not path.exists()


class TestReading:
    def test_empty_file(self, path):
        """A file without records asks for nothing."""
        _write_records(path, [])
        assert _read(path) == []

    def test_as_many_as_allowed(self, path):
        """The limit itself is within the limit."""
        _write_records(path, [b""] * MAX_WARMUP_RECORDS)
        assert len(_read(path)) == 1000

    def test_one_too_many(self, path):
        """One record more is refused, with the limit and the place."""
        _write_records(path, [b""] * (MAX_WARMUP_RECORDS + 1))
        with pytest.raises(
            InvalidArgumentError, match=r"exceeds the maximum \(1000\) at " + _PLACE
        ):
            _read(path)

    def test_a_record_that_does_not_parse(self, path):
        """The record is told by its number, counted from 1; those before are good."""
        _write_records(path, [b"", b"\xff\xff"])
        logs = read_warmup_requests(str(path), _PLACE)
        assert next(logs) == parse_prediction_log(b"")
        with pytest.raises(InvalidArgumentError, match=f"^record 2 of {_PLACE}: 2 bytes are no"):
            next(logs)

    @pytest.mark.parametrize(
        ("damage", "record"),
        [
            (lambda _: b"plain text, and not a little of it", 1),
            (lambda content: content[:-1], 2),
            (lambda content: content[:-5] + bytes([content[-5] ^ 1]) + content[-4:], 2),
        ],
        ids=["text", "cut", "checksum"],
    )
    def test_a_bad_file(self, path, damage, record):
        """What is not TFRecord, or not whole, is told with the first record that is lost."""
        write_warmup_requests(path, [_request(1)] * 2, signature_name="score")
        path.write_bytes(damage(path.read_bytes()))
        with pytest.raises(DataLossError, match=f"^{_PLACE} is not TFRecord.*: record {record} "):
            _read(path)

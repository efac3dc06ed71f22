import subprocess
import sys

import numpy as np
import pytest

from servable_core.errors import InvalidArgumentError
from servable_core.servables.saved_model.prediction_log import (
    parse_prediction_log,
    predict_log,
    to_array,
)
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow

_ARRAYS = {
    "floats": np.arange(6, dtype=np.float32).reshape(2, 3),
    "text": np.array([[b"\xff"], [b""]], object),
    "flags": np.array([True, False]),
}


class TestPredictLog:
    def test_what_it_says(self):
        """Its record holds request, response, signature and version, as the server logs them."""
        log = predict_log(
            _ARRAYS,
            signature_name="score",
            outputs={"y": np.array([1, 2])},
            model_name="ranker",
            version=7,
        )
        assert log.DESCRIPTOR.full_name == "tensorflow.serving.PredictionLog"
        read = parse_prediction_log(log.SerializeToString()).predict_log
        spec = read.request.model_spec
        assert (spec.name, spec.version.value, spec.signature_name) == ("ranker", 7, "score")
        assert read.response.model_spec == spec
        tf = import_tensorflow()
        for name, array in _ARRAYS.items():
            np.testing.assert_array_equal(tf.make_ndarray(read.request.inputs[name]), array)
        assert tf.make_ndarray(read.response.outputs["y"]).tolist() == [1, 2]

    def test_version_and_response_may_be_left_out(self):
        """A request alone names no version, and has no response."""
        log = predict_log(_ARRAYS, signature_name="score").predict_log
        assert not log.request.model_spec.HasField("version")
        assert not log.HasField("response")


class TestParsing:
    def test_something_else(self):
        """Bytes of another kind are refused."""
        with pytest.raises(InvalidArgumentError, match="9 bytes are no PredictionLog"):
            parse_prediction_log(b"\xff" * 9)

    def test_tensorflow_waits_for_the_first_use(self):
        """Whoever only makes loaders pays neither for TensorFlow nor for gRPC; a log needs no gRPC."""
        code = (
            "import sys, numpy\n"
            "from servable_core.servables.saved_model import loader, prediction_log\n"
            "assert not {'tensorflow', 'tensorflow_serving', 'grpc'} & set(sys.modules)\n"
            "prediction_log.predict_log({'x': numpy.zeros(1)}, signature_name='score')\n"
            "assert 'grpc' not in sys.modules\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], check=False, capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, "")


class TestToArray:
    @pytest.mark.parametrize("name", _ARRAYS)
    def test_round_trip(self, name):
        """Values, shape and dtype come back."""
        log = predict_log(_ARRAYS, signature_name="score")
        back = to_array(name, log.predict_log.request.inputs[name])
        assert back.dtype == _ARRAYS[name].dtype
        np.testing.assert_array_equal(back, _ARRAYS[name])

    def test_too_few_values(self):
        """A tensor whose content does not fill its shape is refused by name."""
        proto = import_tensorflow().make_tensor_proto(np.arange(4.0))
        proto.tensor_content = proto.tensor_content[:-3]
        with pytest.raises(InvalidArgumentError, match=r"^tensor 'x' is not what"):
            to_array("x", proto)

    def test_no_dtype(self):
        """So is one of no dtype."""
        with pytest.raises(InvalidArgumentError, match=r"^tensor 'x' is not what"):
            to_array("x", type(import_tensorflow().make_tensor_proto(0))())

import logging
import shutil
import weakref

import numpy as np
import pytest
from typing_extensions import override

from servable_core.errors import (
    DataLossError,
    InvalidArgumentError,
    NotFoundError,
    ServableCoreError,
)
from servable_core.lifecycle import ServableData, ServableId
from servable_core.managers import AspiredVersionsManager
from servable_core.runtime.file_system import LocalFileSystem
from servable_core.servables.saved_model.bundle import SavedModelBundle
from servable_core.servables.saved_model.loader import create_saved_model_loader
from servable_core.servables.saved_model.platform import saved_model_platform
from servable_core.servables.saved_model.prediction_log import parse_prediction_log, predict_log
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from servable_core.servables.saved_model.warmup import WarmupOptions
from servable_core.servables.saved_model.warmup_file import WARMUP_FILE, write_warmup_requests
from servable_core.testing.fake_clock import FakeClock
from tests.models import save_tf1
from tests.servable_core.servables.saved_model.conftest import RemoteFileSystem
from tests.servable_core.servables.saved_model.counting import read_counts, save_counting

_ID = ServableId("counting", 1)
_X = np.arange(6, dtype=np.float32).reshape(2, 3)  # the sum is 15


@pytest.fixture(scope="session", name="saved")
def _saved(tmp_path_factory):
    return save_counting(tmp_path_factory.mktemp("counting"))


@pytest.fixture(name="path")
def _path(saved, tmp_path):
    """A version without warm-up requests, to be changed."""
    return shutil.copytree(saved, tmp_path / "counting" / "1")


def _add(path, *logs):
    """Puts logs, or whole records, into the version's file."""
    file = path / WARMUP_FILE
    file.parent.mkdir(exist_ok=True)
    with import_tensorflow().io.TFRecordWriter(str(file)) as writer:
        for log in logs:
            writer.write(log if isinstance(log, bytes) else log.SerializeToString())


def _load(path, file_system=None, clock=None, **options):
    loader = create_saved_model_loader(
        _ID,
        str(path),
        file_system or LocalFileSystem(),
        None,
        warmup=WarmupOptions(**options),
        clock=clock or FakeClock(),
    )
    loader.load()
    return loader.servable


def _failure(path, kind=ServableCoreError):
    with pytest.raises(kind) as caught:
        _load(path)
    return str(caught.value)


def _example(**features):
    tf = import_tensorflow()
    lists = {
        name: tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
        for name, value in features.items()
    }
    return tf.train.Example(features=tf.train.Features(feature=lists))


def _examples_log(kind, signature_name, *examples):
    log = parse_prediction_log(b"")
    request = getattr(log, kind).request
    request.model_spec.signature_name = signature_name
    request.input.example_list.examples.extend(examples)
    return log


class TestLoading:
    def test_no_requests(self, path):
        """A version without the file is loaded, and not called."""
        assert read_counts(_load(path)) == ({}, 0, 0.0)

    def test_requests_are_run(self, path):
        """All requests have been run when the load is done, with their inputs."""
        write_warmup_requests(path / WARMUP_FILE, [{"x": _X}] * 3, signature_name="other")
        assert read_counts(_load(path)) == ({"other": 3}, 6, 45.0)

    def test_from_a_remote_store(self, path):
        """The file comes with the copy of the version."""
        write_warmup_requests(path / WARMUP_FILE, [{"x": _X}], signature_name="other")
        file_system = RemoteFileSystem(path.parent)
        assert read_counts(_load("mem://store/1", file_system)) == ({"other": 1}, 2, 15.0)

    def test_iterations(self, path):
        """Each request is run as often as the options say."""
        write_warmup_requests(path / WARMUP_FILE, [{"x": _X}] * 2, signature_name="other")
        assert read_counts(_load(path, num_iterations=3))[0] == {"other": 6}

    def test_switched_off(self, path):
        """Nothing is run, nor even read."""
        _add(path, b"\xff")
        bundle = _load(path, is_enabled=False, synthetic_batch_sizes=[4])
        assert read_counts(bundle) == ({}, 0, 0.0)

    def test_is_what_the_platform_does(self, path):
        """A platform hands its options to the loaders that it makes."""
        write_warmup_requests(path / WARMUP_FILE, [{"x": _X}], signature_name="other")
        platform = saved_model_platform(WarmupOptions(num_iterations=2))
        loader = platform.create_loader(_ID, str(path), LocalFileSystem())
        loader.load()
        assert read_counts(loader.servable)[0] == {"other": 2}

    def test_what_is_available_is_warm(self, path):
        """A manager hands out no version before its requests were run."""
        write_warmup_requests(path / WARMUP_FILE, [{"x": _X}], signature_name="other")
        loader = create_saved_model_loader(_ID, str(path), LocalFileSystem(), None)
        with AspiredVersionsManager() as manager:
            manager.set_aspired_versions(_ID.name, [ServableData.of(_ID, loader)])
            manager.wait_until_available([_ID], 30)
            assert read_counts(loader.servable)[0] == {"other": 1}


class _SlowFileSystem(LocalFileSystem):
    """Takes three seconds to list a directory."""

    def __init__(self, clock):
        self._clock = clock

    @override
    def list_files(self, directory):
        self._clock.advance(3)
        return super().list_files(directory)


class TestTimes:
    def test_without_warmup(self, path):
        """The load counts by itself; nothing to run takes no time."""
        clock = FakeClock()
        bundle = _load(path, _SlowFileSystem(clock), clock=clock)
        assert (bundle.load_secs, bundle.warmup_secs) == (3.0, 0.0)

    def test_of_load_and_warmup(self, path, monkeypatch):
        """What the requests take counts as warm-up, and not as load."""
        clock = FakeClock()
        predict = SavedModelBundle.predict

        def slow(*args):
            clock.advance(5)
            return predict(*args)

        monkeypatch.setattr(SavedModelBundle, "predict", slow)
        write_warmup_requests(path / WARMUP_FILE, [{"x": _X}] * 2, signature_name="other")
        bundle = _load(path, _SlowFileSystem(clock), clock=clock)
        assert (bundle.load_secs, bundle.warmup_secs) == (3.0, 10.0)


class TestLogTypes:
    def test_predict(self, path):
        """The default signature is run where none is named; a filter chooses among outputs."""
        log = predict_log({"x": _X}, signature_name="", model_name="another", version=9)
        log.predict_log.request.output_filter.append("same")
        _add(path, log)
        assert read_counts(_load(path)) == ({"serving_default": 1}, 2, 15.0)

    @pytest.mark.parametrize("kind", ["classify_log", "regress_log"])
    def test_examples(self, path, kind):
        """Examples are the rows of the signature's one input."""
        _add(path, _examples_log(kind, "examples", _example(x=1), _example(x=2)))
        assert read_counts(_load(path)) == ({"examples": 1}, 2, 3.0)

    def test_examples_with_context(self, path):
        """The context's features count for each Example that does not have them itself."""
        log = parse_prediction_log(b"")
        request = log.regress_log.request
        request.model_spec.signature_name = "examples"
        shared = request.input.example_list_with_context
        shared.context.CopyFrom(_example(x=10))
        shared.examples.extend([_example(other=1), _example(x=2)])
        _add(path, log)
        assert read_counts(_load(path)) == ({"examples": 1}, 2, 12.0)

    def test_multi_inference(self, path):
        """Each task is run with the same Examples."""
        _add(path, _multi_inference("tensorflow/serving/classify", "tensorflow/serving/regress"))
        assert read_counts(_load(path)) == ({"examples": 1, "more_examples": 1}, 4, 6.0)

    def test_session_run_by_alias(self, path):
        """Aliases are the names of a signature's inputs and outputs."""
        log = _session_run({"x": _X}, ["same"])
        log.session_run_log.request.tensor_name_is_alias = True
        log.session_run_log.request.model_spec.signature_name = "other"
        _add(path, log)
        assert read_counts(_load(path)) == ({"other": 1}, 2, 15.0)

    def test_session_run_by_tensor(self, path):
        """Tensors of the graph are found among those of the signatures."""
        _add(path, _session_run({"other_x:0": _X}, []))
        assert read_counts(_load(path)) == ({"other": 1}, 2, 15.0)

    @pytest.mark.parametrize("fetch", [["score:0"], ["best", "score"]])
    def test_session_run_of_a_tf1_graph(self, tmp_path, fetch):
        """Names without an output stand for the first one."""
        path = tmp_path / "1"
        save_tf1(tmp_path, 1, num_features=3)
        _add(path, _session_run({"features": _X}, fetch), b"\xff")
        assert "record 2" in _failure(path)  # so record 1 was run, and well

    def test_nothing_logged(self, path):
        """A record without a request is passed over."""
        _add(path, b"", predict_log({"x": _X}, signature_name="other"))
        assert read_counts(_load(path))[0] == {"other": 1}


def _multi_inference(*methods):
    log = parse_prediction_log(b"")
    request = log.multi_inference_log.request
    for method, name in zip(methods, ("examples", "more_examples"), strict=False):
        task = request.tasks.add(method_name=method)
        task.model_spec.signature_name = name
    request.input.example_list.examples.extend([_example(x=1), _example(x=2)])
    return log


def _session_run(feeds, fetch):
    log = parse_prediction_log(b"")
    request = log.session_run_log.request
    for name, value in feeds.items():
        request.feed.add(name=name, tensor=import_tensorflow().make_tensor_proto(value))
    request.fetch.extend(fetch)
    return log


def _streamed():
    log = parse_prediction_log(b"")
    log.predict_streamed_log.request.add()
    return log


def _with_target():
    log = _session_run({"other_x": _X}, [])
    log.session_run_log.request.target.append("init")
    return log


def _with_too_few_values():
    log = predict_log({"x": _X}, signature_name="other")
    tensor = log.predict_log.request.inputs["x"]
    tensor.tensor_content = tensor.tensor_content[:-1]
    return log


def _with_filter(name):
    log = predict_log({"x": _X}, signature_name="other")
    log.predict_log.request.output_filter.append(name)
    return log


_BAD_LOGS = {
    "signature": (
        lambda: predict_log({"x": _X}, signature_name="gone"),
        NotFoundError,
        "; it has 'examples', 'more_examples', 'other', 'read', 'serving_default': write the record again, with one of them in model_spec.signature_name",
    ),
    "input name": (
        lambda: predict_log({"y": _X}, signature_name="other"),
        InvalidArgumentError,
        "signature 'other' takes x, got y",
    ),
    "no inputs": (
        lambda: predict_log({}, signature_name="other"),
        InvalidArgumentError,
        "signature 'other' takes x, got nothing",
    ),
    "dtype": (
        lambda: predict_log({"x": _X.astype(np.int64)}, signature_name="other"),
        InvalidArgumentError,
        "expected to be a float tensor but is a int64 tensor",
    ),
    "output": (
        lambda: _with_filter("gone"),
        InvalidArgumentError,
        "signature 'other' returns calls, same, asked for gone",
    ),
    "no Examples": (
        lambda: _examples_log("classify_log", "examples"),
        InvalidArgumentError,
        "the request has no Examples",
    ),
    "tensor content": (
        _with_too_few_values,
        InvalidArgumentError,
        "tensor 'x' is not what its dtype and shape say",
    ),
    "Examples for tensors": (
        lambda: _examples_log("regress_log", "other", _example(x=1)),
        InvalidArgumentError,
        "'other' takes x: float32 [None, 3]",
    ),
    "what the model raises": (
        lambda: _examples_log("regress_log", "examples", _example(other=1)),
        InvalidArgumentError,
        "Feature: x (data type: float) is required but could not be found",
    ),
    "method": (
        lambda: _multi_inference("tensorflow/serving/predict"),
        InvalidArgumentError,
        "got 'tensorflow/serving/predict'",
    ),
    "tensor": (
        lambda: _session_run({"gone:0": _X}, []),
        InvalidArgumentError,
        "no signature of counting/1 takes the tensors gone:0",
    ),
    "target": (_with_target, InvalidArgumentError, "session_run with targets (init)"),
    "streamed": (_streamed, InvalidArgumentError, "predict_streamed_log is not supported"),
}


class TestFailures:
    @pytest.mark.parametrize("name", _BAD_LOGS)
    def test_bad_request(self, path, name):
        """A request that cannot be run fails the load; file, record and reason are told."""
        make, kind, words = _BAD_LOGS[name]
        _add(path, predict_log({"x": _X}, signature_name="other"), make())
        message = _failure(path, kind)
        assert message.startswith(f"record 2 of {path / WARMUP_FILE}: ")
        assert words in message

    def test_corrupt_file(self, path):
        """A file that is something else fails the load."""
        _add(path)
        (path / WARMUP_FILE).write_bytes(b"no TFRecord, but text of some length")
        assert f"{path / WARMUP_FILE} is not TFRecord" in _failure(path, DataLossError)

    def test_too_many_records(self, path):
        """Record 1001 fails the load."""
        _add(path, *[b""] * 1001)
        assert "exceeds the maximum (1000)" in _failure(path, InvalidArgumentError)

    def test_a_remote_file_is_told_by_its_own_name(self, path):
        """Not by that of the copy, which is gone when the message is read."""
        _add(path, b"\xff")
        with pytest.raises(InvalidArgumentError, match=f"record 1 of mem://store/1/{WARMUP_FILE}"):
            _load("mem://store/1", RemoteFileSystem(path.parent))

    def test_keeps_nothing_in_memory(self, path, monkeypatch):
        """The error that a manager remembers does not hold the model."""
        _add(path, _examples_log("regress_log", "examples", _example(other=1)))
        models = weakref.WeakSet()
        init = SavedModelBundle.__init__

        def noting(bundle, *args):
            models.add(bundle)
            init(bundle, *args)

        monkeypatch.setattr(SavedModelBundle, "__init__", noting)
        loader = create_saved_model_loader(_ID, str(path), LocalFileSystem(), None)
        with AspiredVersionsManager() as manager:
            manager.set_aspired_versions(_ID.name, [ServableData.of(_ID, loader)])
            with pytest.raises(InvalidArgumentError, match="record 1 of"):
                manager.wait_until_available([_ID], 30)
            assert list(models) == []


class TestSynthetic:
    def test_sizes(self, path, caplog):
        """Each signature is run at each size; one that zeros do not suit is told of, no more."""
        with caplog.at_level(logging.WARNING):
            bundle = _load(path, synthetic_batch_sizes=(1, 8))
        assert read_counts(bundle) == ({"serving_default": 2, "other": 2}, 18, 0.0)
        told = [each.getMessage() for each in caplog.records if "warmed up" in each.getMessage()]
        assert len(told) == 4
        assert "signature 'examples' with zeros: " in told[0]

    def test_besides_requests(self, path):
        """Requests are run as well, as they are, whatever the sizes."""
        write_warmup_requests(path / WARMUP_FILE, [{"x": _X}], signature_name="other")
        called, num_rows, total = read_counts(_load(path, synthetic_batch_sizes=[4]))
        assert called == {"serving_default": 1, "other": 2}
        assert (num_rows, total) == (10, 15.0)


class TestOptions:
    @pytest.mark.parametrize("num_iterations", [0, -1])
    def test_iterations(self, num_iterations):
        """Less than once is refused."""
        with pytest.raises(InvalidArgumentError, match=f"1 or more, got {num_iterations};"):
            WarmupOptions(num_iterations=num_iterations)

    def test_sizes(self):
        """An empty batch warms up nothing."""
        with pytest.raises(InvalidArgumentError, match=r"1 or more each, got \[1, 0\]"):
            WarmupOptions(synthetic_batch_sizes=[1, 0])

import functools
import weakref

import numpy as np
import pytest

from servable_core.errors import InternalError, InvalidArgumentError, ResourceExhaustedError
from servable_core.lifecycle import ServableData, ServableId
from servable_core.managers import AspiredVersionsManager
from servable_core.managers.aspired_versions_manager import AspiredVersionsManagerOptions
from servable_core.runtime.file_system import LocalFileSystem
from servable_core.runtime.retry import RetryOptions
from servable_core.servables.saved_model.bundle import SavedModelBundle
from servable_core.servables.saved_model.loader import create_saved_model_loader
from servable_core.servables.saved_model.options import SavedModelOptions
from servable_core.servables.saved_model.replica import Replica
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from servable_core.servables.saved_model.warmup import WarmupOptions
from servable_core.servables.signature import SignatureSpec
from tests.models import call_model, save_signatures
from tests.servable_core.servables.saved_model import replicating
from tests.servable_core.servables.saved_model.replicating import elsewhere, features, load

_SIGNATURES = {"serving_default": SignatureSpec(name="serving_default", inputs=(), outputs=())}


def test_each_on_its_device(models):
    """Variables and operations of a replica are where it was put; all score the same."""
    x = features(4, 3)
    devices = ("CPU:2", "CPU:0", "CPU:1")
    found, together = elsewhere(replicating.places, models["linear"], devices, x)
    assert [(variables, output) for variables, output, _ in found] == [
        ({device}, device) for device in devices
    ]
    expected = call_model(models["linear"], features=x)["score"]
    for answer in [*(answer for _, _, answer in found), *together]:
        np.testing.assert_array_equal(answer, expected)


def test_half_a_load_leaves_nothing_behind(models, monkeypatch):
    """When a later replica has no room, the error that a manager remembers does not hold the first."""
    replicas = weakref.WeakSet()
    load_replica = Replica.load

    def failing(path, device, *, jit_compile):
        if replicas:
            raise MemoryError
        replica = load_replica(path, None, jit_compile=jit_compile)
        replicas.add(replica)
        return replica

    monkeypatch.setattr(Replica, "load", failing)
    module = "servable_core.servables.saved_model.bundle.check_devices"
    monkeypatch.setattr(module, lambda _devices: None)
    servable_id = ServableId("model", 1)
    loader = create_saved_model_loader(
        servable_id,
        models["linear"],
        LocalFileSystem(),
        None,
        options=SavedModelOptions(devices=("CPU:0", "CPU:1")),
    )
    options = AspiredVersionsManagerOptions(load_retry=RetryOptions(max_num_retries=0))
    with AspiredVersionsManager(options=options) as manager:
        manager.set_aspired_versions("model", [ServableData.of(servable_id, loader)])
        with pytest.raises(ResourceExhaustedError):
            manager.wait_until_available([servable_id], 30)
        assert list(replicas) == []


class _Replica:
    """Answers with its name; before that, it does something else."""

    def __init__(self, name, do=lambda: None):
        self.name = name
        self.do = do

    def run(self, _signature_name, _inputs, _output_names):
        self.do()
        return {self.name: np.zeros(1)}


class TestLanes:
    def test_calls_go_where_the_fewest_are_in_flight(self):
        """While one replica has a call in flight, all others go to the idle one."""
        others = []

        def call_others():
            others.extend(bundle.predict("serving_default", {}, []) for _ in range(3))

        replicas = [_Replica("busy", call_others), _Replica("idle")]
        bundle = SavedModelBundle("m/1", replicas, _SIGNATURES)
        assert list(bundle.predict("serving_default", {}, [])) == ["busy"]
        assert [list(each) for each in others] == [["idle"]] * 3

    def test_a_failed_call_gives_its_lane_back(self):
        def fail():
            raise MemoryError

        bundle = SavedModelBundle("m/1", [_Replica("a", fail), _Replica("b")], _SIGNATURES)
        for _ in range(2):
            with pytest.raises(ResourceExhaustedError):
                bundle.predict("serving_default", {}, [])
            assert list(bundle.predict("serving_default", {}, [])) == ["b"]


def test_each_replica_is_warmed_up(monkeypatch, models):
    """A warm-up that reaches one replica leaves the others cold."""
    warmed = []
    replicas = [
        _Replica(name, functools.partial(warmed.append, name)) for name in ("first", "second")
    ]
    bundle = SavedModelBundle("model/1", replicas, _SIGNATURES)
    monkeypatch.setattr(SavedModelBundle, "load", lambda *_: bundle)
    warmup = WarmupOptions(synthetic_batch_sizes=(1, 2))
    loader = create_saved_model_loader(
        ServableId("model", 1), models["linear"], LocalFileSystem(), None, warmup=warmup
    )
    loader.load()
    assert warmed == ["first", "first", "second", "second"]


def _save_hungry(base_path):
    """`num_values` int64 [] -> as many zeros; `text` of numbers, which XLA cannot make."""
    tf = import_tensorflow()
    specs = {"num_values": tf.TensorSpec([], tf.int64)}
    x = {"x": tf.TensorSpec([None], tf.float32)}
    strings = {"s": tf.TensorSpec([None], tf.string)}
    signatures = {
        "serving_default": (lambda num_values: {"y": tf.zeros(num_values[None])}, specs),
        "length": (lambda x: {"n": tf.strings.length(tf.strings.as_string(x))}, x),
        "echo": (lambda s: {"s": s}, strings),
        "twice": (lambda x: {"y": x * 2.0}, x),
    }
    return save_signatures(base_path, 1, signatures)


@pytest.fixture(scope="module", name="hungry")
def _hungry(tmp_path_factory):
    return _save_hungry(tmp_path_factory.mktemp("hungry"))


class TestMemory:
    def test_of_tensorflow(self, hungry):
        """A tensor that has no room is a want of memory, not a bug in the model."""
        with pytest.raises(ResourceExhaustedError) as caught:
            load(hungry).predict("serving_default", {"num_values": np.int64(1 << 50)}, ["y"])
        message = str(caught.value)
        assert message.startswith("model model/1, signature 'serving_default': OOM when allocating")
        assert message.endswith("; make batches smaller")
        assert "\n" not in message

    @pytest.mark.parametrize(
        "make",
        [
            lambda tf: MemoryError("Unable to allocate 8 TiB"),
            lambda tf: MemoryError(),
            lambda tf: tf.errors.InternalError(None, None, "Dst tensor is not initialized."),
            lambda tf: tf.errors.InternalError(None, None, "x: CUDA_ERROR_OUT_OF_MEMORY: y"),
        ],
        ids=["with words", "without", "copy to a GPU", "CUDA"],
    )
    def test_of_numpy_and_of_gpus(self, make):
        """Whoever has found no room, and however it says so."""
        error = make(import_tensorflow())

        def fail():
            raise error

        bundle = SavedModelBundle("m/1", [_Replica("a", fail)], _SIGNATURES)
        with pytest.raises(ResourceExhaustedError, match=r"m/1, signature 'serving_default': .+;"):
            bundle.predict("serving_default", {}, [])

    def test_other_internal_errors_stay(self):
        def fail():
            raise import_tensorflow().errors.InternalError(None, None, "cuBLAS is out of order")

        bundle = SavedModelBundle("m/1", [_Replica("a", fail)], _SIGNATURES)
        with pytest.raises(InternalError, match="cuBLAS"):
            bundle.predict("serving_default", {}, [])

    @pytest.mark.parametrize("kind", [MemoryError, "ResourceExhaustedError"])
    def test_during_a_load(self, models, monkeypatch, kind):
        """A model that does not fit is not broken."""
        tf = import_tensorflow()

        def fail(*_args, **_kwargs):
            raise (
                MemoryError
                if kind is MemoryError
                else tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")
            )

        monkeypatch.setattr(tf.saved_model, "load", fail)
        with pytest.raises(ResourceExhaustedError, match=r"model/1 cannot be loaded: .+ memory"):
            load(models["linear"])


class TestJitCompile:
    def test_same_scores(self, models):
        """A compiled model scores as it is, up to rounding, at each batch size."""
        bundle = load(models["linear"], jit_compile=True)
        for num_rows in (1, 4):
            x = features(num_rows, 3)
            answer = bundle.predict("serving_default", {"features": x}, ["score"])["score"]
            expected = call_model(models["linear"], features=x)["score"]
            np.testing.assert_allclose(answer, expected, rtol=1e-5)

    @pytest.mark.parametrize("is_compiled", [True, False])
    def test_really_compiles(self, hungry, is_compiled):
        """The signature's function is XLA's, or it is not."""
        (replica,) = load(hungry, jit_compile=is_compiled)._replicas
        attributes = replica._functions["twice"].function_def.attr
        assert attributes["_XlaMustCompile"].b is is_compiled

    @pytest.mark.parametrize(
        ("name", "inputs", "output", "words"),
        [
            ("length", {"x": np.ones(2, np.float32)}, "n", "operation AsString"),
            ("echo", {"s": np.array([b"a"], object)}, "s", "an input of strings"),
        ],
    )
    def test_what_xla_lacks(self, hungry, name, inputs, output, words):
        """One line names the operation and the option; other signatures work."""
        bundle = load(hungry, jit_compile=True)
        with pytest.raises(InvalidArgumentError) as caught:
            bundle.predict(name, inputs, [output])
        assert str(caught.value) == (
            f"model model/1, signature {name!r}: XLA cannot compile {words}; load the model without jit_compile"
        )
        twice = bundle.predict("twice", {"x": np.ones(2, np.float32)}, ["y"])
        assert twice["y"].tolist() == [2.0, 2.0]

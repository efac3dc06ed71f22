from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from servable_core.errors import FailedPreconditionError, InvalidArgumentError
from servable_core.servables.saved_model.tensorflow_options import (
    TensorFlowOptions,
    configure_tensorflow,
)
from servable_core.servables.saved_model.tensorflow_runtime import (
    has_started,
    import_tensorflow,
    let_gpu_memory_grow,
)
from tests.models import call_model
from tests.servable_core.servables.saved_model import replicating
from tests.servable_core.servables.saved_model.replicating import elsewhere, features


def _has_avx512():
    flags = Path("/proc/cpuinfo")
    return flags.exists() and "avx512f" in flags.read_text()


class FakeTensorFlow:
    """What TensorFlow's configuration does, with two GPUs: it refuses all once it has started."""

    def __init__(self, num_gpus=2):
        self.has_started = False
        self.inter_op = 0
        self.growth = {f"GPU:{each}": False for each in range(num_gpus)}
        self.parts = {}
        self.rewriters = {}
        self.config = SimpleNamespace(
            list_physical_devices=lambda _: [SimpleNamespace(name=each) for each in self.growth],
            experimental=SimpleNamespace(
                get_memory_growth=lambda gpu: self.growth[gpu.name],
                set_memory_growth=lambda gpu, enable: self._set(self.growth, gpu.name, enable),
            ),
            LogicalDeviceConfiguration=lambda *, memory_limit: SimpleNamespace(
                memory_limit=memory_limit
            ),
            get_logical_device_configuration=lambda gpu: self.parts.get(gpu.name),
            set_logical_device_configuration=lambda gpu, parts: self._set(
                self.parts, gpu.name, parts
            ),
            threading=SimpleNamespace(
                get_inter_op_parallelism_threads=lambda: self.inter_op,
                set_inter_op_parallelism_threads=lambda n: self._set(vars(self), "inter_op", n),
            ),
            optimizer=SimpleNamespace(
                get_experimental_options=lambda: self.rewriters,
                set_experimental_options=self.rewriters.update,
            ),
        )

    def _set(self, settings, name, value):
        if settings.get(name) == value:
            return
        if self.has_started:
            raise RuntimeError("cannot be modified after being initialized")
        settings[name] = value

    @property
    def limits(self):
        return {name: [each.memory_limit for each in parts] for name, parts in self.parts.items()}


class TestGpus:
    def test_defaults(self):
        """GPUs get memory as they need it, and the rest stays as it is."""
        tf = FakeTensorFlow()
        configure_tensorflow(TensorFlowOptions(), tf)
        assert tf.growth == {"GPU:0": True, "GPU:1": True}
        assert (tf.limits, tf.rewriters, tf.inter_op) == ({}, {}, 0)

    def test_all_of_them(self):
        """Each option reaches every GPU; models are rewritten for GPUs."""
        tf = FakeTensorFlow()
        options = TensorFlowOptions(
            gpu_memory_growth=False, gpu_memory_limit_mib=512, mixed_precision=True
        )
        configure_tensorflow(options, tf)
        assert tf.growth == {"GPU:0": False, "GPU:1": False}
        assert tf.limits == {"GPU:0": [512], "GPU:1": [512]}
        assert tf.rewriters == {"auto_mixed_precision": True}

    def test_as_it_is(self):
        """What is set already may be set again, also when TensorFlow has started."""
        tf = FakeTensorFlow()
        options = TensorFlowOptions(gpu_memory_limit_mib=512, mixed_precision=True)
        configure_tensorflow(options, tf)
        tf.has_started = True
        configure_tensorflow(options, tf)
        assert tf.limits["GPU:0"] == [512]

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (TensorFlowOptions(), "gpu_memory_growth of GPU:0 cannot become True"),
            (
                TensorFlowOptions(gpu_memory_growth=False, gpu_memory_limit_mib=512),
                "gpu_memory_limit_mib of GPU:0 cannot become 512",
            ),
            (
                TensorFlowOptions(gpu_memory_growth=False, mixed_precision=True),
                "mixed_precision cannot become True",
            ),
        ],
        ids=["growth", "limit", "precision"],
    )
    def test_too_late(self, options, words):
        """Once TensorFlow has started nothing changes, and the option is named."""
        tf = FakeTensorFlow()
        tf.has_started = True
        with pytest.raises(FailedPreconditionError, match=words):
            configure_tensorflow(options, tf)
        assert tf.rewriters == {}

    def test_without_gpus(self):
        """Their options are void where there are none, and models are rewritten for oneDNN."""
        tf = FakeTensorFlow(num_gpus=0)
        configure_tensorflow(TensorFlowOptions(gpu_memory_limit_mib=512, mixed_precision=True), tf)
        assert (tf.limits, tf.rewriters) == ({}, {"auto_mixed_precision_onednn_bfloat16": True})

    @pytest.mark.parametrize("is_too_late", [False, True])
    def test_memory_grows_from_the_import_on(self, is_too_late):
        """Nobody has to ask for that; where TensorFlow runs already, it stays as it is."""
        tf = FakeTensorFlow()
        tf.has_started = is_too_late
        let_gpu_memory_grow(tf)
        assert set(tf.growth.values()) == {not is_too_late}

    def test_no_memory(self):
        with pytest.raises(InvalidArgumentError, match="gpu_memory_limit_mib must be 1 or more"):
            TensorFlowOptions(gpu_memory_limit_mib=0)


class TestHasStarted:
    def test_of_a_fake(self):
        """Asking changes nothing."""
        tf = FakeTensorFlow()
        assert not has_started(tf)
        tf.has_started = True
        assert has_started(tf)
        assert tf.inter_op == 0

    def test_of_tensorflow(self):
        tf = import_tensorflow()
        tf.config.list_logical_devices()
        assert has_started(tf)


@pytest.fixture(scope="module", name="mixed")
def _mixed(models):
    """Exact scores, those in mixed precision, and errors of what was tried besides."""
    x = features(64, 3)
    exact = call_model(models["linear"], features=x)["score"]
    return exact, *elsewhere(replicating.mixed_precision, models["linear"], x)


class TestMixedPrecision:
    @pytest.mark.skipif(not _has_avx512(), reason="oneDNN has bfloat16 with AVX-512")
    def test_has_an_effect(self, mixed):
        """Scores are less precise, also on other threads than TensorFlow's first; their type stays."""
        exact, scores, _ = mixed
        assert scores.dtype == np.float32
        assert 1e-4 < np.abs(scores - exact).max() < 3e-2

    def test_too_late(self, mixed):
        """A process that runs models in mixed precision cannot leave it."""
        _, _, (turned_off, _) = mixed
        assert turned_off[0] is FailedPreconditionError
        assert "mixed_precision cannot become False: TensorFlow has started" in turned_off[1]

    def test_not_with_xla(self, mixed):
        """XLA would ignore it, so both together are refused."""
        _, _, (_, compiled) = mixed
        assert compiled[0] is InvalidArgumentError
        assert "no effect on what jit_compile compiles" in compiled[1]

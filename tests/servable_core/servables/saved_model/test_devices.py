"""Names of devices, and the memory that replicas take of them; no device is needed for that."""

import pytest

from servable_core.errors import InvalidArgumentError
from servable_core.lifecycle import ServableId
from servable_core.resources import RAM_BYTES, Resource, ResourceAllocation, host_ram
from servable_core.runtime.file_system import LocalFileSystem
from servable_core.servables.saved_model.devices import (
    GPU,
    check_devices,
    replicated_ram,
    resolve_devices,
)
from servable_core.servables.saved_model.loader import create_saved_model_loader
from servable_core.servables.saved_model.options import SavedModelOptions, parse_devices
from servable_core.servables.saved_model.resource_estimate import OVERRIDE_FILE


def _gpu_ram(**bytes_by_instance):
    return ResourceAllocation(
        {Resource(GPU, RAM_BYTES, int(key[1:])): size for key, size in bytes_by_instance.items()}
    )


class TestNames:
    @pytest.mark.parametrize(
        ("text", "devices"),
        [
            ("", ()),
            (" ", ()),
            ("auto", ("auto",)),
            ("gpu:0, /GPU:1", ("GPU:0", "GPU:1")),
            ("/device:CPU:02", ("CPU:2",)),
        ],
    )
    def test_parsed(self, text, devices):
        """Users name devices as TensorFlow does; they come in one spelling."""
        assert SavedModelOptions(devices=parse_devices(text)).devices == devices

    @pytest.mark.parametrize("devices", [("GPU",), ("",), ("auto", "GPU:0"), ("TPU:0",)])
    def test_unknown(self, devices):
        with pytest.raises(InvalidArgumentError, match="is not known: name each as in GPU:0"):
            SavedModelOptions(devices=devices)

    def test_twice(self):
        """One device holds one replica."""
        with pytest.raises(InvalidArgumentError, match="devices must differ, got gpu:0, /GPU:0"):
            SavedModelOptions(devices=("gpu:0", "/GPU:0"))


class TestResolve:
    @pytest.mark.parametrize(("num_gpus", "devices"), [(0, ()), (1, ()), (2, ("GPU:0", "GPU:1"))])
    def test_auto(self, monkeypatch, num_gpus, devices):
        """All GPUs where there are several; else TensorFlow's own placement."""
        module = "servable_core.servables.saved_model.devices.num_gpus"
        monkeypatch.setattr(module, lambda: num_gpus)
        assert resolve_devices(("auto",)) == devices

    def test_named(self):
        assert resolve_devices(("CPU:0",)) == ("CPU:0",)
        assert resolve_devices(()) == ()

    def test_missing(self):
        """TensorFlow would put it elsewhere without a word; we do not."""
        check_devices(("CPU:0",))
        with pytest.raises(InvalidArgumentError, match=r"no device GPU:99; TensorFlow sees CPU:0"):
            check_devices(("CPU:0", "GPU:99"))


class TestMemory:
    @pytest.mark.parametrize(
        ("devices", "expected"),
        [
            ((), host_ram(10)),
            (("CPU:0", "CPU:1"), host_ram(20)),
            (("GPU:0", "GPU:3"), host_ram(10) + _gpu_ram(_0=10, _3=10)),
            (("CPU:0", "GPU:1"), host_ram(10) + _gpu_ram(_1=10)),
        ],
    )
    def test_replicated(self, devices, expected):
        """Each replica counts on its device, and those on GPUs once on the host, too."""
        assert replicated_ram(10, devices) == expected

    def test_of_a_loader(self, copy):
        """The transient part is the host's, and only before the load."""
        override = copy / OVERRIDE_FILE
        override.parent.mkdir()
        override.write_text('{"ram_in_bytes": 1000, "transient_ram_in_bytes": 500}')
        options = SavedModelOptions(devices=("GPU:0", "GPU:1"))
        loader = create_saved_model_loader(
            ServableId("linear", 1), str(copy), LocalFileSystem(), None, options=options
        )
        assert loader.estimate_resources() == host_ram(1500) + _gpu_ram(_0=1000, _1=1000)

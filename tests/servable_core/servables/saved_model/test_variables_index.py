from pathlib import Path

import numpy as np
import pytest

from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from servable_core.servables.saved_model.variables_index import required_sizes
from tests.bad_input.shards import save_in_two_shards


def _save(prefix, tensors):
    tf = import_tensorflow()
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=list(tensors),
        shape_and_slices=[""] * len(tensors),
        tensors=list(tensors.values()),
    )
    return Path(f"{prefix}.index").read_bytes()


@pytest.mark.parametrize("name", ["linear", "tf1", "keras"])
def test_real_models(models, name):
    """The index of an export asks for exactly the bytes that were written."""
    directory = Path(models[name]) / "variables"
    data = directory / "variables.data-00000-of-00001"
    index = (directory / "variables.index").read_bytes()
    assert required_sizes(index) == [data.stat().st_size]


def test_many_tensors(tmp_path):
    """An index of many blocks is read to its end, strings and all types included."""
    values = {f"layer_{i:04d}/kernel": np.full(i % 7, i, np.float32) for i in range(3000)}
    values["text"] = np.array([b"some", b"words"], object)
    values["zz"] = np.int64(1)
    index = _save(tmp_path / "v", values)
    size = (tmp_path / "v.data-00000-of-00001").stat().st_size
    assert len(index) > 1 << 15
    assert required_sizes(index) == [size]


def test_several_files(tmp_path):
    """Each file has its own size."""
    (tmp_path / "variables").mkdir()
    save_in_two_shards(tmp_path)
    index = (tmp_path / "variables/variables.index").read_bytes()
    assert required_sizes(index) == [12, 16]


def test_no_prefix_is_an_index(tmp_path):
    """A cut index is corrupt, wherever it was cut."""
    index = _save(tmp_path / "v", {"a": np.zeros(3, np.float32), "b": np.zeros(2, np.int8)})
    for cut in range(len(index)):
        with pytest.raises(ValueError, match=r"index|block|checksum"):
            required_sizes(index[:cut])


def test_changed_bytes(tmp_path):
    """A changed byte is found by a checksum, or changes nothing that is asked."""
    index = _save(tmp_path / "v", {"a": np.zeros(3, np.float32)})
    expected = required_sizes(index)
    num_refused = 0
    for position in range(len(index)):
        changed = bytearray(index)
        changed[position] ^= 0x55
        try:
            assert required_sizes(bytes(changed)) == expected, position
        except ValueError:
            num_refused += 1
    assert num_refused > len(index) // 2

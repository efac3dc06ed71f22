import importlib
import subprocess
import sys
import types
from concurrent.futures import ThreadPoolExecutor

import pytest

from servable_core.servables.saved_model.tensorflow_runtime import keras_deferred

EAGER = "keras.src.optimizers"  # what TensorFlow's package imports at its end

_IN_A_NEW_PROCESS = """
import sys
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
tf = import_tensorflow()
assert not any(name.split(".")[0] == "keras" for name in sys.modules), "Keras was imported"
optimizer = tf.keras.optimizers.SGD()
assert optimizer.learning_rate.numpy() > 0, "Keras came later, and works"
"""


def test_tensorflow_comes_without_keras_until_somebody_asks_for_it():
    """Keras takes longer than the rest, and SavedModels need none of it."""
    done = subprocess.run(
        [sys.executable, "-c", _IN_A_NEW_PROCESS],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def test_the_import_is_refused_during_the_body_only(monkeypatch):
    """TensorFlow takes the refusal for a missing package; others never see it."""
    monkeypatch.delitem(sys.modules, EAGER, raising=False)
    with keras_deferred(), pytest.raises(ImportError):
        __import__(EAGER)
    assert EAGER not in sys.modules


def test_other_threads_get_keras_meanwhile(monkeypatch, tmp_path):
    """A user's function may import Keras on a worker's thread while another one imports TensorFlow."""
    (tmp_path / "optimizers.py").write_text("is_real = True\n")
    for name in ("keras", "keras.src"):
        package = types.ModuleType(name)
        package.__path__ = [str(tmp_path)]
        monkeypatch.setitem(sys.modules, name, package)
    monkeypatch.delitem(sys.modules, EAGER, raising=False)
    with keras_deferred(), ThreadPoolExecutor(1) as other:
        assert other.submit(importlib.import_module, EAGER).result(timeout=30).is_real
    assert sys.modules.pop(EAGER).is_real


def test_keras_that_is_there_stays(monkeypatch):
    """Whoever has imported it keeps it."""
    present = types.ModuleType(EAGER)
    monkeypatch.setitem(sys.modules, EAGER, present)
    with keras_deferred():
        assert sys.modules[EAGER] is present
    assert sys.modules[EAGER] is present

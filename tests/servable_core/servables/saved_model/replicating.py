"""Loads a model on several devices, or with TensorFlow's options; runs in a process of its own."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np

from servable_core.errors import ServableCoreError
from servable_core.lifecycle import ServableId
from servable_core.runtime.file_system import LocalFileSystem
from servable_core.servables.saved_model.loader import create_saved_model_loader
from servable_core.servables.saved_model.options import SavedModelOptions
from servable_core.servables.saved_model.tensorflow_options import (
    TensorFlowOptions,
    configure_tensorflow,
)
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow

_ID = ServableId("model", 1)


def load(path, **options):
    """Returns the model at `path`, loaded."""
    loader = create_saved_model_loader(
        _ID, str(path), LocalFileSystem(), None, options=SavedModelOptions(**options)
    )
    loader.load()
    return loader.servable


def split_cpu(num_devices):
    """Makes several devices of the CPU, which is possible until TensorFlow starts."""
    tf = import_tensorflow()
    (cpu,) = tf.config.list_physical_devices("CPU")
    parts = [tf.config.LogicalDeviceConfiguration() for _ in range(num_devices)]
    tf.config.set_logical_device_configuration(cpu, parts)


def places(path, devices, features):
    """Returns where each replica has its variables and runs its operations, and what it scores.

    And what all of them score together, called by many threads.
    """
    split_cpu(3)
    bundle = load(path, devices=devices)
    found = [(*_places(each, features), _score(each, features)) for each in bundle.by_replica()]
    with ThreadPoolExecutor(2 * len(devices)) as threads:
        return found, list(threads.map(lambda _: _score(bundle, features), range(30)))


def _places(view, features):
    (replica,) = view._replicas
    variables = replica._functions["serving_default"].variables
    output = replica.call("serving_default", {"features": features})["score"]
    return {_short(each.device) for each in variables}, _short(output.device)


def _score(bundle, features):
    return bundle.predict("serving_default", {"features": features}, ["score"])["score"]


def _short(device):
    return device.rpartition("device:")[2]


def mixed_precision(path, features):
    """Returns scores in mixed precision, of a batch thread, and what may not be done besides."""
    configure_tensorflow(TensorFlowOptions(mixed_precision=True))
    bundle = load(path)
    with ThreadPoolExecutor(1) as batch_thread:
        scores = batch_thread.submit(_score, bundle, features).result()
    configure_tensorflow(TensorFlowOptions(mixed_precision=True))  # as it is: no error
    return scores, [
        _error(lambda: configure_tensorflow(TensorFlowOptions())),
        _error(lambda: load(path, jit_compile=True)),
    ]


def _error(call):
    try:
        call()
    except ServableCoreError as error:
        return type(error), str(error)
    return None, ""


def elsewhere(function, *args):
    """Returns what `function` returns in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


def features(num_rows, num_features):
    """Returns the same random features each time."""
    return np.random.default_rng(1).standard_normal((num_rows, num_features)).astype(np.float32)

"""Runs a staged pipeline as a remote worker would, and tells what crossed its stage boundaries.

A program of its own, for an interpreter whose path has nothing but the standard library:
    python -I -S execute_staged.py PIPELINE_PB WHEEL_DIRECTORY SITE_PACKAGES
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

OWN_PACKAGES = ("servable_core", "transforms", "pipelines")


def main(pipeline_file: str, wheel_directory: str, site_packages: str) -> None:
    """Writes the places of our modules and the boundary elements as JSON, on the last line."""
    sys.path += [wheel_directory, site_packages]
    _import_all()
    elements: list[dict[str, Any]] = []
    _record_elements(elements)
    _run(pipeline_file)
    modules = {name: sys.modules[name].__file__ for name in OWN_PACKAGES}
    sys.stdout.write("\n" + json.dumps({"modules": modules, "elements": elements}) + "\n")


def _import_all() -> None:
    import importlib
    import pkgutil

    for name in OWN_PACKAGES:
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            importlib.import_module(module.name)


def _record_elements(elements: list[dict[str, Any]]) -> None:
    """Makes the ends of all stages note each element's encoded size and what it consists of."""
    from apache_beam.coders import coder_impl
    from apache_beam.runners.worker.bundle_processor import DataInputOperation, DataOutputOperation

    def note(operation: Any, direction: str, value: Any) -> None:
        elements.append(
            {
                "step": operation.name_context.step_name,
                "direction": direction,
                "size": len(operation.windowed_coder.encode(value)),
                "types": sorted({type(each).__name__ for each in _leaves(value.value)}),
            }
        )

    send, receive = DataOutputOperation.process, DataInputOperation.process_encoded

    def noting_send(self: Any, value: Any) -> None:
        note(self, "out", value)
        send(self, value)

    def noting_receive(self: Any, encoded: bytes) -> None:
        stream = coder_impl.create_InputStream(encoded)
        while stream.size() > 0:
            note(self, "in", self.windowed_coder_impl.decode_from_stream(stream, True))
        receive(self, encoded)

    DataOutputOperation.process = noting_send
    DataInputOperation.process_encoded = noting_receive


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, str | bytes) or not hasattr(value, "__iter__"):
        yield value
        return
    for each in value:
        yield from _leaves(each)


def _run(pipeline_file: str) -> None:
    """Runs the pipeline in this process, in place of the container that it asks for."""
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.portability.api import beam_runner_api_pb2
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner
    from apache_beam.transforms.environments import EmbeddedPythonEnvironment

    pipeline = beam_runner_api_pb2.Pipeline.FromString(Path(pipeline_file).read_bytes())
    embedded = EmbeddedPythonEnvironment.default().to_runner_api(None)
    for environment in pipeline.components.environments.values():
        environment.CopyFrom(embedded)
    FnApiRunner().run_via_runner_api(pipeline, PipelineOptions([])).wait_until_finish()


if __name__ == "__main__":
    main(*sys.argv[1:])

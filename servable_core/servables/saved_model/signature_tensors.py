"""The names that a signature's inputs and outputs have in the graph, as `session_run` uses them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from servable_core.runtime.file_system import LocalFileSystem
from servable_core.servables.saved_model.structure import read_serving_graph


@dataclass(frozen=True, kw_only=True, slots=True)
class SignatureTensors:
    """The graph's tensors behind one signature.

    Attributes:
        inputs: Name of the signature's input by name of the tensor, such as `x:0`.
        outputs: Likewise for outputs.
    """

    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


def read_signature_tensors(directory: str) -> dict[str, SignatureTensors]:
    """Returns the tensors of each signature of the SavedModel in a local directory, by its name.

    Raises:
        ServableCoreError: There is no graph for serving, or it does not parse.
    """
    file_system = LocalFileSystem()
    graph = read_serving_graph(directory, file_system.list_files(directory), file_system)
    return {
        name: SignatureTensors(
            inputs=_aliases(signature.inputs), outputs=_aliases(signature.outputs)
        )
        for name, signature in sorted(graph.signature_def.items())
    }


def _aliases(tensors: Mapping[str, Any]) -> dict[str, str]:
    return {info.name: alias for alias, info in tensors.items() if info.name}

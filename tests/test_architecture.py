"""What may be imported by whom, beyond the layers that import-linter holds."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parent.parent
_HEAVY = ("tensorflow", "grpc", "apache_beam", "pyarrow", "numpy")


def _imported_by(statement):
    """Returns which heavy packages a fresh interpreter has loaded after `statement`."""
    script = f"import sys, json\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        cwd=_ROOT,
    )
    modules = json.loads(done.stdout.splitlines()[-1])
    return {name for name in _HEAVY if name in modules}


def _top_level_imports(path):
    """Returns the first parts of all modules that a file imports, outside the standard library."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module).split(".")[0])
    return names - set(sys.stdlib_module_names)


def test_the_entry_point_imports_only_pipelines():
    """`run_pipeline.py` is a door, not a room."""
    assert _top_level_imports(_ROOT / "run_pipeline.py") == {"pipelines"}


def test_servable_core_loads_no_framework():
    """The vocabulary of the core costs neither TensorFlow, nor grpc, nor Beam."""
    assert not _imported_by("import servable_core") & {"tensorflow", "grpc", "apache_beam"}


@pytest.mark.parametrize(
    "package",
    ["batching", "lifecycle", "managers", "policies", "sources", "server_core", "testing"],
)
def test_no_part_of_the_core_but_servables_loads_a_framework(package):
    """Only where models run does the core need TensorFlow."""
    loaded = _imported_by(f"import servable_core.{package}")
    assert not loaded & {"tensorflow", "grpc", "apache_beam"}


def test_the_command_line_loads_nothing_heavy():
    """Flags are parsed, and help is shown, before anything slow is imported."""
    assert _imported_by("import pipelines.cli") == set()


@pytest.mark.parametrize(
    "args",
    [["--help"], *([each, "--help"] for each in ("precompute", "evaluate", "gate", "promote"))],
)
def test_help_loads_neither_beam_nor_tensorflow(args):
    """`--help` answers at once."""
    statement = f"from pipelines.cli import main\ntry: main({args})\nexcept SystemExit: pass"
    assert not _imported_by(statement) & {"tensorflow", "apache_beam"}


def test_planning_without_models_loads_no_tensorflow():
    """Modules that only mention TensorFlow import it when they first need it."""
    modules = ["transforms.binding", "transforms.planning", "transforms.formats.tfrecord"]
    loaded = _imported_by(f"import {', '.join(modules)}")
    assert "tensorflow" not in loaded


def test_only_the_packages_of_the_design_are_at_the_top():
    """Code lives in the packages that the layers are drawn between."""
    packages = {path.parent.name for path in _ROOT.glob("*/__init__.py")}
    assert packages == {"servable_core", "transforms", "pipelines", "benchmarks"}

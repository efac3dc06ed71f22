"""The core is cheap to import."""

import subprocess
import sys


def test_importing_the_core_loads_neither_tensorflow_nor_beam_nor_grpc() -> None:
    """Launchers print help and errors without paying for them."""
    script = (
        "import sys, servable_core, servable_core.server_core, servable_core.testing;"
        "print({'tensorflow', 'apache_beam', 'grpc'} & {m.partition('.')[0] for m in sys.modules})"
    )

    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert result.stdout.strip() == "set()"

"""Hands the pipeline to a runner. The only module of the package that builds Beam pipelines."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.beam_options import RunnerChoice
from servable_core.errors import FailedPreconditionError
from transforms.evaluate import EvaluateUnits
from transforms.evaluation.state_files import SavedEvaluation
from transforms.evaluation.unit_source import UnitSource
from transforms.execution import ExecutionOptions
from transforms.precompute import PrecomputeUnits

_PROJECT_ROOT = Path(__file__).resolve().parent.parent
_PACKAGE_FLAGS = ("--extra_package=", "--extra_packages=")
_WHEEL_PREFIX = "bulk_inference-"


def run_units(
    output: str, execution: ExecutionOptions, runner: RunnerChoice, command_line: str = ""
) -> None:
    """Runs all pending units of the plan in `output` and its last stage, and waits for the end.

    Args:
        output: Output directory with a plan.
        execution: Limits of one worker.
        runner: Where it runs.
        command_line: The command that the job was started with, for the receipts.
    """
    units = PrecomputeUnits(
        output=output,
        execution=execution,
        stops_siblings=_stops_siblings(runner),
        command_line=command_line,
    )
    _run("Precompute", units, runner)


def run_evaluation(
    saved: SavedEvaluation,
    source: UnitSource,
    runner: RunnerChoice,
    *,
    output: str,
    scratch: str,
    max_unit_retries: int,
) -> None:
    """Measures all units of an evaluation, writes their states, and waits for the end.

    Args:
        saved: What is measured; without states yet.
        source: The units.
        runner: Where it runs.
        output: Output directory.
        scratch: Directory that workers share.
        max_unit_retries: Further attempts at a unit after an error that may pass.
    """
    units = EvaluateUnits(
        saved=saved,
        source=source,
        output=output,
        scratch=scratch,
        max_unit_retries=max_unit_retries,
        stops_siblings=_stops_siblings(runner),
    )
    _run("Evaluate", units, runner)


def _stops_siblings(runner: RunnerChoice) -> bool:
    return runner.is_local and not runner.is_in_process


def _run(name: str, transform: beam.PTransform, runner: RunnerChoice) -> None:
    _make_importable()
    with _staged(runner) as args:
        pipeline = beam.Pipeline(options=PipelineOptions(args))
        _ = pipeline | name >> transform
        result = pipeline.run()
        try:
            result.wait_until_finish()
        except KeyboardInterrupt:
            result.cancel()
            raise


@contextmanager
def _staged(runner: RunnerChoice) -> Iterator[Sequence[str]]:
    """Yields Beam's arguments, with the wheel for workers that have not this environment."""
    if runner.is_local:
        yield runner.args
        return
    with tempfile.TemporaryDirectory(prefix="bulk_inference_wheel-") as directory:
        yield _with_wheel(runner.args, Path(directory))


def _with_wheel(args: Sequence[str], directory: Path) -> list[str]:
    """Adds this program to the packages that workers install, unless it is among them already.

    An empty `--extra_package=` says that workers have it: it is in their container image.
    """
    names = {arg: Path(arg.split("=", 1)[1]).name for arg in args if arg.startswith(_PACKAGE_FLAGS)}
    if any(name == "" or name.startswith(_WHEEL_PREFIX) for name in names.values()):
        return [arg for arg in args if names.get(arg) != ""]  # Beam takes no empty one
    return [*args, f"--extra_package={build_wheel(directory)}"]


def _make_importable() -> None:
    """Lets local worker processes import this package from wherever they are started."""
    paths = [each for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each]
    if str(_PROJECT_ROOT) not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([str(_PROJECT_ROOT), *paths])


def build_wheel(directory: Path) -> Path:
    """Builds the wheel that workers install and returns its path in `directory`.

    Raises:
        FailedPreconditionError: This is no source checkout, or hatchling is missing.
    """
    if not (_PROJECT_ROOT / "pyproject.toml").is_file():
        raise FailedPreconditionError(
            "workers install this program from a wheel, which can only be built in a source checkout; give --extra_package=PATH_OF_WHEEL, or --sdk_container_image with the package installed and `--extra_package=`"
        )
    try:
        from hatchling.builders.wheel import WheelBuilder
    except ImportError as error:
        raise FailedPreconditionError(
            "building the wheel for the workers needs hatchling: pip install 'bulk-inference[dataflow]', or give --extra_package=PATH_OF_WHEEL"
        ) from error
    builder = WheelBuilder(str(_PROJECT_ROOT))
    return Path(next(builder.build(directory=str(directory), versions=["standard"])))

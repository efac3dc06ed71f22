"""Hands the pipeline to a runner. The only module of the package that builds Beam pipelines."""

import os
import tempfile
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.beam_options import RunnerChoice, flag_value
from servable_core.errors import FailedPreconditionError
from transforms.execution import ExecutionOptions
from transforms.precompute import PrecomputeUnits

_PROJECT_ROOT = Path(__file__).resolve().parent.parent


def run_units(output: str, execution: ExecutionOptions, runner: RunnerChoice) -> None:
    """Runs all pending units of the plan in `output` and its last stage, and waits for the end."""
    _make_importable()
    with tempfile.TemporaryDirectory(prefix="bulk_inference_wheel-") as directory:
        args = list(runner.args)
        if not runner.is_local and flag_value(args, "extra_package") is None:
            args.append(f"--extra_package={build_wheel(Path(directory))}")
        pipeline = beam.Pipeline(options=PipelineOptions(args))
        _ = pipeline | "Precompute" >> PrecomputeUnits(output=output, execution=execution)
        result = pipeline.run()
        try:
            result.wait_until_finish()
        except KeyboardInterrupt:
            result.cancel()
            raise


def _make_importable() -> None:
    """Lets local worker processes import this package from wherever they are started."""
    paths = [str(_PROJECT_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)


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

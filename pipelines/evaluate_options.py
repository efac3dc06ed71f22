"""Options of the evaluate job, validated when made."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pipelines.options import PrecomputeOptions
from servable_core.errors import InvalidArgumentError
from transforms.evaluation.evaluation_config import EvaluationConfig
from transforms.execution import ExecutionOptions
from transforms.plan_request import PlanRequest
from transforms.storage import absolute_path

IF_EXISTS = ("error", "overwrite")
SCRATCH_DIRECTORY = "_job"


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """What to compare, on what data, and where to write what was found.

    Attributes:
        output: Output directory.
        config: What is compared and measured.
        predictions: `DIR` or `VERSION=DIR` with what precompute has written, instead of models.
        models: Flags of precompute that choose models and data, and say how they are fed.
        aa: Whether the baseline is run twice on some rows.
        if_exists: What to do with an earlier evaluation in the directory: error or overwrite.
        take_over: Take a lock that another launcher holds on a remote output directory.
        verbose: Show tracebacks and the libraries' own logs.
        execution: How workers run.
        beam_args: Arguments for Beam.
        command_line: The command that these options come from, for the lineage.
    """

    output: str
    config: EvaluationConfig
    predictions: tuple[str, ...] = ()
    models: Mapping[str, Any] = field(default_factory=dict)
    aa: bool = False
    if_exists: str = "error"
    take_over: bool = False
    verbose: bool = False
    execution: ExecutionOptions = field(default_factory=ExecutionOptions)
    beam_args: tuple[str, ...] = ()
    command_line: str = ""

    def __post_init__(self) -> None:
        if not self.output:
            raise InvalidArgumentError("--output is missing: the directory to write to")
        self._check_if_exists()
        if self.predictions:
            self._check_no_models()
        else:
            self._precompute_options("all")

    def _check_if_exists(self) -> None:
        if self.if_exists == "resume":
            raise InvalidArgumentError(
                "--if_exists=resume: an evaluation starts anew; where that takes long, precompute the versions, which can be resumed, and evaluate what they wrote with --predictions"
            )
        if self.if_exists not in IF_EXISTS:
            raise InvalidArgumentError(
                f"--if_exists must be one of {', '.join(IF_EXISTS)}, got {self.if_exists!r}"
            )

    def _check_no_models(self) -> None:
        given = [name for name, value in self.models.items() if value is not None]
        others = [name for name in given if name != "model_name"]
        if others:
            raise InvalidArgumentError(
                f"--predictions takes the place of models and data, so it does not go with --{others[0]}"
            )
        if self.aa:
            raise InvalidArgumentError(
                "--aa runs the baseline, so it needs its model instead of --predictions"
            )

    @property
    def output_path(self) -> str:
        """Returns the output directory, absolute."""
        return absolute_path(self.output)

    @property
    def scratch_path(self) -> str:
        """Returns the directory that the workers of this job share."""
        return f"{self.output_path}/{SCRATCH_DIRECTORY}"

    def plan_request(self, versions: str, models: Mapping[str, Any]) -> PlanRequest:
        """Returns what the plan is made from.

        Args:
            versions: As `--model_version` takes them.
            models: Flags to use instead of those given.
        """
        request = self._precompute_options(versions, models).plan_request()
        return replace(request, column_flags=self._column_flags())

    def _precompute_options(
        self, versions: str, models: Mapping[str, Any] | None = None
    ) -> PrecomputeOptions:
        given = {**self.models, **(models or {})}
        if not given.get("model_config_file"):
            given["model_version"] = versions
        config = self.config
        return PrecomputeOptions(
            **given,
            output=self.scratch_path,
            key=config.example_key,
            passthrough=tuple(each for each in config.columns if each != config.example_key),
            execution=self.execution,
        )

    def _column_flags(self) -> dict[str, str]:
        config = self.config
        flags = {column: "--slice" for spec in config.slices for column in spec.columns}
        for name in ("label", "weight", "example_key", "cluster_key"):
            column = getattr(config, name)
            if column is not None:
                flags[column] = f"--{name}"
        return flags

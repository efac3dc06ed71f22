"""Options of the precompute job, validated when made."""

import shlex
from dataclasses import dataclass, field, fields
from typing import Any

from pipelines.content_flags import (
    CONTENT_FLAGS,
    DEFAULTS,
    effective_flags,
    flag_words,
    recorded_value,
)
from pipelines.program import DOCUMENTED_PROGRAM
from servable_core.errors import FailedPreconditionError, InvalidArgumentError
from servable_core.sources.version_selection import VersionPolicy, parse_version_policy
from transforms.batching_options import batching_parameters
from transforms.execution import AUTO, ExecutionOptions
from transforms.heads import head_names
from transforms.input_map import parse_input_map, parse_pad_values, parse_renames
from transforms.inputs import check_input_format
from transforms.methods import check_method
from transforms.model_config import ModelSelection
from transforms.nulls import OnNull, parse_null_policy
from transforms.output_formats import check_output_format
from transforms.padding import parse_length_ladder
from transforms.plan import Plan
from transforms.plan_request import PlanRequest
from transforms.sampling import check_fraction
from transforms.storage import absolute_path
from transforms.unit_cutting import UnitBounds

CRC = ("check", "ignore")
ON_ERROR = ("fail", "dead_letter")
IF_EXISTS = ("error", "overwrite", "resume")


@dataclass(frozen=True, kw_only=True)
class PrecomputeOptions:
    """What to precompute, from what, to where.

    None means "not given": the default for a new job, and the plan's value for a resumed one.

    Attributes:
        output: Output directory.
        model_base_path: Directory with version directories.
        model_config_file: Text proto `ModelServerConfig`, instead of a base path.
        input: Globs, directories, files, and `@` before files that list them.
        model_name: Name in the output; the base path's last part if not given. With a config
            file, the one of its models to run; all if not given.
        version_label: The version with this label in the config file.
        model_version: `latest`, `latest:2`, `all`, `3` or `3,5`.
        signature_name: Signature to run; several, as `a,b`.
        input_format: "parquet", "tfrecord", "csv" or "jsonl"; told by suffix if not given.
        input_map: `tensor=column` or `tensor=[c1,c2]` entries.
        key: Column that identifies a row.
        passthrough: Columns to copy to the output.
        output_tensors: Outputs to keep, `old=new` renames; all if not given.
        preprocess: `package.module:function`, RecordBatch to RecordBatch.
        postprocess: Likewise, on the output.
        unit_bytes: Input bytes of a unit.
        unit_rows: Rows of a unit.
        limit: Only the first rows.
        sample: Only about this share of the rows, always the same ones.
        sample_seed: Another one gives another sample.
        on_null: `error`, `default:VALUE` or `dead_letter`.
        dedupe: Compute each distinct input of a unit once.
        pad_variable_length_inputs: Pad all lists of varying length, also for inputs without a mask.
        pad_values: `tensor=value` entries; zero or empty where not given.
        length_ladder: Lengths to pad to.
        on_error: "fail", or "dead_letter" to put aside the records that fail.
        crc: "check" or "ignore" the checksums of TFRecords.
        jit_compile: Let XLA compile the models.
        mixed_precision: Compute in 16 bits where TensorFlow holds that harmless.
        output_format: One of `OUTPUT_FORMATS`.
        log_inputs: Log requests beside responses.
        method: One of `METHODS`.
        deterministic: Byte-identical output, however often the job is killed and resumed.
        if_exists: What to do with a non-empty output directory: error, overwrite or resume.
        take_over: Take a lock that another launcher holds on a remote output directory.
        dry_run: Plan, bind and run one batch, then stop.
        verbose: Show tracebacks and the libraries' own logs.
        batching_parameters_file: Where `execution.batching_parameters` come from.
        execution: How workers run.
        beam_args: Arguments for Beam.
        command_line: The command that these options come from, for the manifest.
        program: The words that start this program.
    """

    output: str
    model_base_path: str | None = None
    model_config_file: str | None = None
    input: tuple[str, ...] | None = None
    model_name: str | None = None
    model_version: str | None = None
    version_label: str | None = None
    signature_name: str | None = None
    input_format: str | None = None
    input_map: tuple[str, ...] | None = None
    key: str | None = None
    passthrough: tuple[str, ...] | None = None
    output_tensors: tuple[str, ...] | None = None
    preprocess: str | None = None
    postprocess: str | None = None
    unit_bytes: int | None = None
    unit_rows: int | None = None
    limit: int | None = None
    sample: float | None = None
    sample_seed: int | None = None
    on_null: str | None = None
    dedupe: bool | None = None
    pad_variable_length_inputs: bool | None = None
    pad_values: tuple[str, ...] | None = None
    length_ladder: tuple[int, ...] | None = None
    on_error: str | None = None
    crc: str | None = None
    jit_compile: bool | None = None
    mixed_precision: bool | None = None
    output_format: str | None = None
    log_inputs: bool | None = None
    method: str | None = None
    deterministic: bool | None = None
    if_exists: str = "error"
    take_over: bool = False
    dry_run: bool = False
    verbose: bool = False
    batching_parameters_file: str | None = None
    execution: ExecutionOptions = field(default_factory=ExecutionOptions)
    beam_args: tuple[str, ...] = ()
    command_line: str = ""
    program: tuple[str, ...] = DOCUMENTED_PROGRAM

    def __post_init__(self) -> None:
        if not self.output:
            raise InvalidArgumentError("--output is missing: the directory to write to")
        if self.if_exists not in IF_EXISTS:
            raise InvalidArgumentError(
                f"--if_exists must be one of {', '.join(IF_EXISTS)}, got {self.if_exists!r}"
            )
        check_input_format(self.input_format)
        if self.limit is not None and self.limit < 1:
            raise InvalidArgumentError(f"--limit must be 1 or more, got {self.limit}")
        if self.sample is not None:
            check_fraction(self.sample)
        parse_null_policy(self._value("on_null"))
        self._versions()
        self._check_models()
        parse_input_map(self.input_map or ())
        parse_renames(self.output_tensors or ())
        parse_pad_values(self.pad_values or ())
        parse_length_ladder(self.length_ladder or ())
        self._check_output()
        if self._value("on_error") not in ON_ERROR:
            raise InvalidArgumentError(
                f"--on_error must be one of {', '.join(ON_ERROR)}, got {self.on_error!r}"
            )
        if self._value("crc") not in CRC:
            raise InvalidArgumentError(f"--crc must be one of {', '.join(CRC)}, got {self.crc!r}")
        batching_parameters(self.execution, None)
        self._bounds()

    @property
    def output_path(self) -> str:
        """Returns the output directory, absolute."""
        return absolute_path(self.output)

    @property
    def how_to_resume(self) -> str:
        """Returns the words that end a job which is not done: the command that continues it."""
        words = [*self.program, "precompute", f"--output={self.output_path}"]
        words.append("--if_exists=resume")
        words += [f"--{name}={value}" for name, value in self._given_execution().items()]
        beam_args = ["--", *self.beam_args] if self.beam_args else []
        return f"go on with:\n  {shlex.join([*words, *beam_args])}"

    def _given_execution(self) -> dict[str, Any]:
        """Returns the execution options that are not the defaults."""
        defaults = ExecutionOptions()
        values = {each.name: getattr(self.execution, each.name) for each in fields(defaults)}
        said = values.pop("batching_parameters")
        given = {name: value for name, value in values.items() if value != getattr(defaults, name)}
        if isinstance(given.get("allowed_batch_sizes"), tuple):
            given["allowed_batch_sizes"] = ",".join(map(str, given["allowed_batch_sizes"]))
        if said is not None and self.batching_parameters_file:
            given["batching_parameters_file"] = absolute_path(self.batching_parameters_file)
        return given

    def given_content(self) -> dict[str, Any]:
        """Returns the flags that decide what is written, as far as they were given."""
        names = [each.name for each in fields(self) if each.name in CONTENT_FLAGS]
        given = {name: getattr(self, name) for name in names}
        return {
            name: recorded_value(name, value) for name, value in given.items() if value is not None
        }

    def plan_request(self) -> PlanRequest:
        """Returns what a new job's plan is made from.

        Raises:
            InvalidArgumentError: A flag is missing that only a resumed job can do without.
        """
        if not self.model_base_path and not self.model_config_file:
            raise InvalidArgumentError(
                "--model_base_path is missing: the directory with the model's versions"
            )
        if self.version_label and not self.model_config_file:
            raise InvalidArgumentError(
                f"--version_label={self.version_label} needs --model_config_file, which says what it points to"
            )
        if not self.input:
            raise InvalidArgumentError("--input is missing: files, directories or quoted globs")
        self._check_rows_wanted()
        return PlanRequest(
            models=ModelSelection(
                model_base_path=self.model_base_path,
                model_config_file=self.model_config_file,
                model_name=self.model_name,
                versions=self._versions(),
                version_label=self.version_label,
            ),
            signature_name=self._value("signature_name"),
            inputs=self.input,
            input_format=self.input_format,
            input_map=self._value("input_map"),
            key=self.key,
            passthrough=self._value("passthrough"),
            output_tensors=self._value("output_tensors"),
            preprocess=self.preprocess,
            postprocess=self.postprocess,
            bounds=self._bounds(),
            limit=self.limit,
            sample=self.sample,
            sample_seed=self._value("sample_seed"),
            on_null=parse_null_policy(self._value("on_null")),
            dedupe=self._value("dedupe"),
            pad_variable_length_inputs=self._value("pad_variable_length_inputs"),
            pad_values=self._value("pad_values"),
            length_ladder=self._value("length_ladder"),
            on_error=self._value("on_error"),
            crc=self._value("crc"),
            jit_compile=self._value("jit_compile"),
            mixed_precision=self._value("mixed_precision"),
            output_format=self._value("output_format"),
            log_inputs=self._value("log_inputs"),
            method=self._value("method"),
            deterministic=self._value("deterministic"),
            flags=self.effective_content(),
        )

    def effective_content(self) -> dict[str, Any]:
        """Returns all flags that decide what is written, defaults filled in."""
        return effective_flags(self.given_content())

    def check_resumes(self, plan: Plan) -> None:
        """Checks that a resumed job was asked for nothing but what its plan says.

        Raises:
            FailedPreconditionError: A given flag conflicts; the message names both values.
        """
        for name, value in self.given_content().items():
            planned = plan.flags.get(name)
            if value != planned:
                raise FailedPreconditionError(
                    f"--{name}={flag_words(value)} conflicts with the plan in {self.output_path}, which has {flag_words(planned)}; leave the flag out to resume, or start anew with --if_exists=overwrite"
                )
        for name in ("batch_size", "batch_cells"):
            recorded = getattr(plan.content, f"deterministic_{name}")
            asked = getattr(self.execution, f"max_{name}")
            if recorded is not None and asked not in (None, AUTO, recorded):
                raise FailedPreconditionError(
                    f"--max_{name}={asked} conflicts with the deterministic plan in {self.output_path}, which has {recorded}"
                )

    def _value(self, name: str) -> Any:
        given = getattr(self, name)
        return DEFAULTS[name] if given is None else given

    def _versions(self) -> VersionPolicy:
        text = self._value("model_version")
        try:
            return parse_version_policy(text)
        except InvalidArgumentError as error:
            raise InvalidArgumentError(f"--model_version: {error}") from error

    def _check_output(self) -> None:
        names, method = self._value("signature_name"), self._value("method")
        heads = head_names(names)
        check_method(method)
        if len(heads) > 1 and method != "predict":
            raise InvalidArgumentError(
                f"--method={method} is for one signature, got --signature_name={names}; leave it out, or run a job for each"
            )
        check_output_format(
            self._value("output_format"),
            method=method,
            log_inputs=self._value("log_inputs"),
            unlogged={
                "--key": self.key,
                "--passthrough": self.passthrough,
                "--postprocess": self.postprocess,
                f"--signature_name={names}": heads[1:],
            },
        )

    def _check_models(self) -> None:
        if self.model_config_file and self.model_base_path:
            raise InvalidArgumentError(
                "give --model_base_path or --model_config_file, not both: the file says where its models are"
            )
        if self.model_config_file and self.model_version:
            raise InvalidArgumentError(
                f"--model_version={self.model_version} does not go with --model_config_file, which has each model's version policy; choose with --version_label"
            )

    def _check_rows_wanted(self) -> None:
        """Checks flags of which a new job needs both, and a resumed one has them in its plan."""
        if self.sample is None and self.sample_seed is not None:
            raise InvalidArgumentError(
                f"--sample_seed={self.sample_seed} needs --sample, the share of the rows to take"
            )
        puts_nulls_aside = parse_null_policy(self._value("on_null")).action is OnNull.DEAD_LETTER
        if puts_nulls_aside and self._value("on_error") != "dead_letter":
            raise InvalidArgumentError("--on_null=dead_letter needs --on_error=dead_letter")

    def _bounds(self) -> UnitBounds:
        return UnitBounds(max_bytes=self._value("unit_bytes"), max_rows=self._value("unit_rows"))

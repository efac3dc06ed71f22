"""What the user asked `inspect` for."""

from dataclasses import dataclass

from servable_core.errors import InvalidArgumentError
from servable_core.sources.version_selection import VersionPolicy, parse_version_policy
from transforms.input_map import parse_input_map, parse_pad_values
from transforms.inputs import check_input_format
from transforms.nulls import parse_null_policy
from transforms.padding import parse_length_ladder


@dataclass(frozen=True, kw_only=True, slots=True)
class InspectOptions:
    """What to show.

    Attributes:
        model_base_path: Directory with version directories.
        model_config_file: Text proto `ModelServerConfig`, instead of a base path.
        model_version: Which versions; all if not given.
        signature_name: Only this signature, or several as `a,b`; None for all.
        input: Data to bind, or nothing.
        input_format: As for a job, like all that follow.
        input_map: `--input_map` entries.
        preprocess: `package.module:function` or None.
        on_null: `error`, `default:VALUE` or `dead_letter`.
        pad_variable_length_inputs: Whether all lists of varying length are padded.
        pad_values: `--pad_values` entries.
        length_ladder: Lengths to pad to; empty for the default ones.

    Raises:
        InvalidArgumentError: One of them makes no sense.
    """

    model_base_path: str = ""
    model_config_file: str | None = None
    model_version: str | None = None
    signature_name: str | None = None
    input: tuple[str, ...] = ()
    input_format: str | None = None
    input_map: tuple[str, ...] = ()
    preprocess: str | None = None
    on_null: str = "error"
    pad_variable_length_inputs: bool = False
    pad_values: tuple[str, ...] = ()
    length_ladder: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        self.versions  # noqa: B018 - checks them
        check_input_format(self.input_format)
        parse_input_map(self.input_map)
        parse_null_policy(self.on_null)
        parse_pad_values(self.pad_values)
        parse_length_ladder(self.length_ladder)
        self._check_input()

    def _check_input(self) -> None:
        names = ("input_format", "input_map", "preprocess", "pad_values", "length_ladder")
        given = [name for name in names if getattr(self, name)]
        if given and not self.input:
            raise InvalidArgumentError(
                f"--{given[0]} says how data are bound, and there are none: give --input, too"
            )

    @property
    def versions(self) -> VersionPolicy:
        """Which versions to show."""
        try:
            return parse_version_policy(self.model_version or "all")
        except InvalidArgumentError as error:
            raise InvalidArgumentError(f"--model_version: {error}") from error

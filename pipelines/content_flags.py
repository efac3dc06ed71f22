"""The flags that decide what is written: their defaults, and their values as a plan records them."""

from collections.abc import Mapping
from typing import Any

from transforms.input_lists import LIST_SIGN
from transforms.storage import absolute_path

CONTENT_FLAGS = (
    "model_base_path",
    "model_config_file",
    "version_label",
    "input",
    "model_name",
    "model_version",
    "signature_name",
    "input_format",
    "input_map",
    "key",
    "passthrough",
    "output_tensors",
    "preprocess",
    "postprocess",
    "unit_bytes",
    "unit_rows",
    "limit",
    "sample",
    "sample_seed",
    "on_null",
    "dedupe",
    "pad_variable_length_inputs",
    "pad_values",
    "length_ladder",
    "on_error",
    "crc",
    "jit_compile",
    "mixed_precision",
    "output_format",
    "log_inputs",
    "method",
    "deterministic",
)
DEFAULTS: Mapping[str, Any] = {
    "model_version": "latest",
    "signature_name": "serving_default",
    "input_map": (),
    "passthrough": (),
    "output_tensors": (),
    "unit_bytes": 64 << 20,
    "unit_rows": 1_000_000,
    "pad_variable_length_inputs": False,
    "pad_values": (),
    "length_ladder": (),
    "on_error": "fail",
    "crc": "check",
    "jit_compile": False,
    "mixed_precision": False,
    "output_format": "parquet",
    "log_inputs": False,
    "method": "predict",
    "sample_seed": 0,
    "on_null": "error",
    "dedupe": False,
    "deterministic": False,
}
_PATH_FLAGS = frozenset({"model_base_path", "model_config_file", "input"})


def effective_flags(given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns all flags that decide what is written, defaults filled in."""
    defaults = {name: recorded_value(name, DEFAULTS.get(name)) for name in CONTENT_FLAGS}
    return {**defaults, **given}


def recorded_value(name: str, value: Any) -> Any:
    """Returns the value as JSON will give it back, paths made absolute."""
    if isinstance(value, tuple):
        return [recorded_value(name, each) for each in value]
    if name not in _PATH_FLAGS or not value:
        return value
    sign = LIST_SIGN if name == "input" and value.startswith(LIST_SIGN) else ""
    return sign + absolute_path(value.removeprefix(sign))


def flag_words(value: Any) -> str:
    """Returns a recorded value as one gives it on the command line."""
    if isinstance(value, list):
        return ",".join(str(each) for each in value)
    return "none" if value is None else str(value)

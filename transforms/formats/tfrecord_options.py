"""How TFRecord files are read: what is checked, and what becomes of records that fail."""

from dataclasses import dataclass
from typing import Literal, cast, get_args

from servable_core.errors import InvalidArgumentError

CrcMode = Literal["check", "ignore"]
OnError = Literal["fail", "dead_letter"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TFRecordOptions:
    """How TFRecord files are read.

    Attributes:
        crc: "check" verifies both checksums of each record. "ignore" verifies neither: what was
            damaged is taken for data, and only lengths that cannot be are noticed.
        on_error: "fail" raises at the first record that cannot be read or parsed; "dead_letter"
            reports it as a bad record, and goes on behind it.
    """

    crc: CrcMode = "check"
    on_error: OnError = "fail"

    def __post_init__(self) -> None:
        _check_choice("crc", self.crc, get_args(CrcMode))
        _check_choice("on_error", self.on_error, get_args(OnError))


def tfrecord_options(crc: str, on_error: str) -> TFRecordOptions:
    """Returns the options of these names.

    Raises:
        InvalidArgumentError: One of them is no choice.
    """
    return TFRecordOptions(crc=cast(CrcMode, crc), on_error=cast(OnError, on_error))


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InvalidArgumentError(f"{name} must be one of {', '.join(choices)}, got {value!r}")

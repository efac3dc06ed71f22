"""How one SavedModel is loaded: onto which devices, and whether it is compiled."""

import re
from dataclasses import dataclass

from servable_core.errors import InvalidArgumentError

AUTO = "auto"
"""Each GPU, when there are several; TensorFlow's default placement otherwise."""

_DEVICE = re.compile(r"/?(?:device:)?(CPU|GPU):(\d+)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedModelOptions:
    """How one SavedModel is loaded.

    Attributes:
        devices: Where its replicas are, one on each, such as `("GPU:0", "GPU:1")`. None leaves one
            replica where TensorFlow puts it, and `("auto",)` is each GPU when there are several.
        jit_compile: Whether XLA compiles the signatures. It does so once for each shape, which
            takes seconds: allow few batch sizes, and warm up with them. Strings, and operations
            that XLA does not know, make the call of a signature fail.
    """

    devices: tuple[str, ...] = ()
    jit_compile: bool = False

    def __post_init__(self) -> None:
        if self.devices == (AUTO,):
            return
        names = tuple(_canonical(each) for each in self.devices)
        if len(set(names)) < len(names):
            raise InvalidArgumentError(
                f"devices must differ, got {', '.join(self.devices)}: one replica on each will do"
            )
        object.__setattr__(self, "devices", names)


def parse_devices(text: str) -> tuple[str, ...]:
    """Returns the devices that users name with commas between them; empty text is none."""
    return tuple(each.strip() for each in text.split(",")) if text.strip() else ()


def _canonical(device: str) -> str:
    match = _DEVICE.fullmatch(device)
    if match is None:
        raise InvalidArgumentError(
            f"device {device!r} is not known: name each as in GPU:0 or CPU:0, or give {AUTO!r} alone"
        )
    return f"{match[1].upper()}:{int(match[2])}"

"""The checksum that TFRecord files, LevelDB tables and TensorFlow's checkpoints store."""

from typing import Any

import crc32c
import numpy as np

_DELTA = 0xA282EAD8


def masked_crc32c(content: bytes) -> int:
    """Returns CRC-32C as those formats store it: rotated by 15 bits, plus a constant."""
    crc = crc32c.crc32c(content)
    return (((crc >> 15) | (crc << 17)) + _DELTA) & 0xFFFFFFFF


def masked(crcs: np.ndarray) -> np.ndarray:
    """Returns many checksums, uint32 of any shape, as those formats store them."""
    stored: Any = ((crcs >> np.uint32(15)) | (crcs << np.uint32(17))) + np.uint32(_DELTA)
    return np.asarray(stored)

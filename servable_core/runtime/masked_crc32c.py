"""The checksum that TFRecord files, LevelDB tables and TensorFlow's checkpoints store."""

import crc32c


def masked_crc32c(content: bytes) -> int:
    """Returns CRC-32C as those formats store it: rotated by 15 bits, plus a constant."""
    crc = crc32c.crc32c(content)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF

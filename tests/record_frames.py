"""The frames of TFRecord files, made by hand: so they can be damaged, or hold anything."""

import struct

from servable_core.runtime.masked_crc32c import masked_crc32c


def frame(record: bytes) -> bytes:
    """Returns a record as it stands in a file."""
    length = struct.pack("<Q", len(record))
    return length + _checksum(length) + record + _checksum(record)


def _checksum(content: bytes) -> bytes:
    return struct.pack("<I", masked_crc32c(content))

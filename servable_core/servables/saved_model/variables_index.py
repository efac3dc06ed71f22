"""Reads the index of a checkpoint's variables: how long its data files must be.

The index is a table as LevelDB writes them: blocks of prefix-coded keys with a checksum each, and a
footer that tells where the block of blocks lies. Its values are TensorFlow's protos: a header under the
empty key, then an entry for each tensor with its file and place.
"""

import struct
from collections.abc import Iterator

from servable_core.runtime.masked_crc32c import masked_crc32c
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow

_FOOTER_BYTES = 48
_MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
_UINT32 = struct.Struct("<I")


def required_sizes(index: bytes) -> list[int]:
    """Returns how many bytes each data file must hold at least, by its number.

    Raises:
        ValueError: The index is corrupt.
    """
    import_tensorflow()
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import tensor_bundle_pb2

    try:
        entries = dict(_table(index))
        header = tensor_bundle_pb2.BundleHeaderProto.FromString(entries.pop(b""))
        sizes = [0] * header.num_shards
        for value in entries.values():
            entry = tensor_bundle_pb2.BundleEntryProto.FromString(value)
            sizes[entry.shard_id] = max(sizes[entry.shard_id], entry.offset + entry.size)
    except (LookupError, struct.error, DecodeError) as error:
        raise ValueError(f"the index is corrupt: {error}") from error
    return sizes


def _table(index: bytes) -> Iterator[tuple[bytes, bytes]]:
    footer = index[-_FOOTER_BYTES:]
    if len(footer) < _FOOTER_BYTES or not footer.endswith(_MAGIC):
        raise ValueError("the index does not end as a table does")
    _, _, offset, size = _varints(footer, 0, 4)[0]
    for _, handle in _block(index, offset, size):
        yield from _block(index, *_varints(handle, 0, 2)[0])


def _block(index: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yields keys and values; behind the block stand a byte for its compression and a checksum."""
    checked = index[offset : offset + size + 1]
    if masked_crc32c(checked) != _UINT32.unpack_from(index, offset + size + 1)[0]:
        raise ValueError(f"wrong checksum of the block at byte {offset}")
    if checked[size]:  # TensorFlow writes none since version 1.2
        raise ValueError(f"the block at byte {offset} is compressed")
    num_restarts = _UINT32.unpack_from(checked, size - _UINT32.size)[0]
    end = size - _UINT32.size * (num_restarts + 1)
    key, position = b"", 0
    while position < end:
        (num_shared, num_own, length), position = _varints(checked, position, 3)
        key = key[:num_shared] + checked[position : position + num_own]
        position += num_own + length
        yield key, checked[position - length : position]


def _varints(content: bytes, position: int, count: int) -> tuple[list[int], int]:
    """Returns `count` numbers of seven bits a byte, lowest first, and the position behind them."""
    numbers = []
    for _ in range(count):
        number = shift = 0
        while content[position] & 0x80:
            number |= (content[position] & 0x7F) << shift
            position, shift = position + 1, shift + 7
        numbers.append(number | content[position] << shift)
        position += 1
    return numbers, position

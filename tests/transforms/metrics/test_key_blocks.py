import sys

import numpy as np
import pyarrow as pa
import pytest

from servable_core.errors import InvalidArgumentError
from transforms.metrics import key_blocks
from transforms.metrics.key_blocks import hash_keys


def _fnv1a(key):
    found = 0xCBF29CE484222325
    for byte in key:
        found = (found ^ byte) * 0x100000001B3 % 2**64
    return found


def _mix(number):
    number = (number + 0x9E3779B97F4A7C15) % 2**64
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    number = (number ^ number >> 27) * 0x94D049BB133111EB % 2**64
    return number ^ number >> 31


def test_hashes_are_the_published_ones():
    assert _fnv1a(b"foobar") == 0x85944171F73967E8
    assert _mix(0) == 0xE220A8397B1DCDAF
    strings = ["", "a", "foobar", "käse", "a much longer key than the others"]
    expected = [_mix(_fnv1a(each.encode())) for each in strings]
    assert hash_keys(pa.array(strings)).tolist() == expected
    assert hash_keys(pa.array([0, 1, 2**62])).tolist() == [_mix(0), _mix(1), _mix(2**62)]


def test_of_many_texts_each_has_its_own_hash(monkeypatch):
    monkeypatch.setattr(sys.modules[hash_keys.__module__], "_CHUNK_ROWS", 7)
    texts = [f"{'k' * (row % 5)}{row}"[: row % 9] for row in range(100)]
    expected = [_mix(_fnv1a(each.encode())) for each in texts]
    assert hash_keys(pa.array(["before", *texts]).slice(1)).tolist() == expected


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary(), pa.large_binary()])
def test_text_hashes_alike_in_any_array(kind):
    keys = pa.array(["x", "yy", "zzz", "yy"]).cast(kind)
    whole = hash_keys(keys)
    assert whole[1] == whole[3] == hash_keys(keys.slice(1, 1))[0]
    assert hash_keys(keys.slice(1)).tolist() == whole[1:].tolist()


@pytest.mark.parametrize("keys", [np.arange(32_000), [f"user-{each}" for each in range(32_000)]])
def test_blocks_are_about_equally_large(keys):
    counts = np.bincount(key_blocks(pa.array(keys)), minlength=32)
    assert counts.size == 32
    assert counts.min() > 850
    assert counts.max() < 1150


def test_null_and_no_keys_are_fine():
    found = hash_keys(pa.array(["a", None, None]))
    assert found[1] == found[2] != found[0]
    assert hash_keys(pa.array([], pa.string())).size == 0
    assert hash_keys(pa.array([1, None])).size == 2


def test_other_keys_are_refused():
    with pytest.raises(InvalidArgumentError, match="got double; name another key column"):
        key_blocks(pa.array([0.5]))

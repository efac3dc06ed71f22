"""Keys that come more than once: counted exactly while there are few keys, sampled beyond."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servable_core.errors import InvalidArgumentError
from tests.transforms.metrics.evaluated import parquet_bytes
from transforms.metrics.key_blocks import hash_keys
from transforms.metrics.key_sample import KeySample


def _sample(keys, max_keys=1000):
    return KeySample.of_rows(max_keys, hash_keys(pa.array(keys, pa.int64())))


@pytest.mark.parametrize(
    ("keys", "expected"),
    [([], 0), ([5], 0), ([1, 2, 3], 0), ([1, 2, 1], 2), ([7] * 4 + [8, 9, 9], 6)],
)
def test_rows_that_share_a_key_are_counted(keys, expected):
    found = _sample(keys)
    assert found.is_exact
    assert found.num_sharing_rows == expected


@given(
    keys=st.lists(st.integers(0, 40), max_size=80),
    cuts=st.lists(st.integers(0, 80), max_size=4),
    max_keys=st.sampled_from([1, 4, 1000]),
    seed=st.integers(0, 9),
)
def test_any_order_and_partition_give_the_same_bytes(keys, cuts, max_keys, seed):
    shuffled = np.random.default_rng(seed).permutation(np.array(keys, dtype=np.int64))
    parts = [_sample(each, max_keys) for each in np.split(shuffled, sorted(cuts))]
    expected = parquet_bytes(_sample(keys, max_keys).to_table())
    assert parquet_bytes(KeySample.merge(iter(parts)).to_table()) == expected
    nested = KeySample.merge([parts[-1], KeySample.merge(tuple(parts[:-1] or parts[-1:]))])
    if parts[:-1]:
        assert parquet_bytes(nested.to_table()) == expected
    assert (
        parquet_bytes(KeySample.merge([KeySample.empty(max_keys), *parts]).to_table()) == expected
    )


def test_of_many_keys_a_sample_tells_about_how_many_rows_share_theirs():
    """Every tenth of a million keys comes twice; a sample of 4,096 keys has 5 % of standard error."""
    keys = np.arange(1_000_000)
    rows = np.concatenate([keys, keys[::10]])
    parts = np.array_split(np.random.default_rng(0).permutation(rows), 7)
    found = KeySample.merge(_sample(each, 4096) for each in parts)
    assert not found.is_exact
    assert found.hashes.size <= 4096
    assert found.num_sharing_rows == pytest.approx(200_000, rel=0.2)
    assert (
        KeySample.merge(_sample(each, 4096) for each in np.array_split(keys, 7)).num_sharing_rows
        == 0
    )


def test_a_sample_becomes_a_table_and_back():
    found = _sample(np.arange(5000) // 2, 100)
    again = KeySample.from_table(found.to_table())
    assert again.to_table().equals(found.to_table(), check_metadata=True)
    assert again.num_sharing_rows == found.num_sharing_rows > 0


def test_nothing_is_shared_with_what_was_merged():
    one = _sample([1, 2, 2])
    merged = KeySample.merge([one])
    assert not np.shares_memory(merged.hashes, one.hashes)
    assert not np.shares_memory(merged.counts, one.counts)


def test_samples_of_other_sizes_are_not_merged():
    with pytest.raises(InvalidArgumentError, match="number of keys"):
        KeySample.merge([_sample([1], 10), _sample([1], 20)])

"""Mutations are reproducible, and take any content: others may have damaged it before them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import corpora, mutations
from tests.record_frames import frame

_ALL = sorted(
    {*mutations.ANYWHERE, *(each for some in mutations.OF_FORMAT.values() for each in some)},
    key=lambda each: each.__name__,
)


@settings(max_examples=30, deadline=None)
@given(content=st.binary(max_size=60) | st.just(b'{"a": 1}\n{"a": 2}\n'), seed=st.integers(0, 99))
@pytest.mark.parametrize("mutation", _ALL, ids=lambda each: each.__name__)
def test_any_content(mutation, content, seed):
    """The same seed makes the same damage; in place, no byte moves."""
    changed, again = (mutation(content, np.random.default_rng(seed)) for _ in range(2))
    assert changed == again
    if mutation in mutations.IN_PLACE:
        assert len(changed) == max(len(content), len(changed) if not content else 0)


def _outcomes(mutation, content, count=40):
    return [mutation(content, np.random.default_rng(seed)) for seed in range(count)]


def test_lines_and_frames_are_repeated_whole():
    """What is repeated are records, so that all of them can be read."""
    lines = [b"first\n", b"second\n", b"third\n"]
    for content in _outcomes(mutations.repeat_line, b"".join(lines)):
        assert set(content.splitlines(keepends=True)) == set(lines)
        assert len(content) > sum(map(len, lines))
    frames = [frame(b"first"), frame(b"second")]
    for content in _outcomes(mutations.repeat_frame, b"".join(frames)):
        assert not content.replace(frames[0], b"").replace(frames[1], b"")
        assert len(content) > sum(map(len, frames))


def test_regions_are_those_of_a_footer():
    """In Parquet, what comes twice is a column's pages or a row group."""
    originals = (corpora.parquet(np.random.default_rng(seed)) for seed in range(9))
    original = next(each for each in originals if each.parts)
    sizes = {each.end - each.start for each in original.parts}
    repeated = _outcomes(mutations.repeat_region, original.content)
    grown = {len(each) - len(original.content) for each in repeated}
    assert grown & sizes
    assert max(grown) > max(sizes)


def test_nesting_is_deeper_than_readers_allow():
    """And values are longer than types."""
    content = b'{"a": 1, "b": "x"}\n'
    nested = _outcomes(mutations.nest_brackets, content)
    assert max(each.count(b"[") for each in nested) >= 100_000
    assert max(map(len, _outcomes(mutations.write_long_value, content))) >= 5_000_000
    mixed = b"".join(_outcomes(mutations.mix_text, content))
    assert all(each in mixed for each in (b"\0", b"\r", b"\xef\xbb\xbf", b"\xff"))

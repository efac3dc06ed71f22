"""Numbers with 44 fractional bits, in words of 32 bits whose sums are exact in any order.

A number is the sum of its words times 2^(32 j - 44). All words but the last lie in [0, 2^32); the
last carries the sign, and there are as few words as keep it below 2^40. So equal sums are equal
bytes, and millions of them add up in int64 before a carry is due.
"""

import numpy as np

from servable_core.errors import InvalidArgumentError
from transforms.metrics.array_types import Floats, Integers
from transforms.metrics.grouping import Groups, sum_parts

FRACTIONAL_BITS = 44
_SCALE = float(1 << FRACTIONAL_BITS)
_WORD_BITS = 32
_WORD = 1 << _WORD_BITS
_MAX_LAST_WORD = 1 << 40
# Six words: the square of the square of an error of 67 million, or of a weight of a million.
MAX_MAGNITUDE = 2.0**144


def sum_rows(groups: Groups, values: Floats, rows: Integers) -> Integers:
    """Returns the words of the sum for each key, [keys, words], still to be normalised.

    Args:
        groups: The keys.
        values: Numbers; each is rounded to a multiple of 2^-44.
        rows: For each position in `groups`, which of the values it adds.

    Raises:
        InvalidArgumentError: A value is not finite, or beyond `MAX_MAGNITUDE`.
    """
    scaled = np.rint(values * _SCALE)
    largest = float(np.abs(scaled).max(initial=0.0))
    if not largest <= MAX_MAGNITUDE * _SCALE:
        raise InvalidArgumentError(
            f"a value to sum must be finite and at most 2^144, got {values[~(np.abs(values) <= MAX_MAGNITUDE)][:1]}; scale it"
        )
    words = []
    for position in reversed(range(_num_words(largest))):
        part = np.trunc(scaled * 2.0 ** (-_WORD_BITS * position))
        scaled -= part * 2.0 ** (_WORD_BITS * position)
        words.append(sum_parts(groups, part[rows]))
    return np.stack(words[::-1], axis=-1)


def _num_words(largest: float) -> int:
    return max(1, -(-int(np.frexp(largest)[1]) // _WORD_BITS))


def normalise(words: Integers) -> Integers:
    """Returns the one spelling of sums of words, with as few words as hold all of them."""
    words = _pad(words, words.shape[-1] + 2)
    for position in range(words.shape[-1] - 1):
        words[..., position + 1] += words[..., position] >> _WORD_BITS
        words[..., position] &= _WORD - 1
    while words.shape[-1] > 1:
        last = words[..., -1]
        if np.abs(last).max(initial=0) > _MAX_LAST_WORD >> _WORD_BITS:
            break
        folded = last * _WORD + words[..., -2]
        if np.abs(folded).max(initial=0) >= _MAX_LAST_WORD:
            break
        words = np.concatenate([words[..., :-2], folded[..., None]], axis=-1)
    return words


def _pad(words: Integers, num_words: int) -> Integers:
    missing = num_words - words.shape[-1]
    return np.concatenate([words, np.zeros((*words.shape[:-1], missing), np.int64)], axis=-1)


def align(spellings: list[Integers]) -> list[Integers]:
    """Returns arrays of words, all with as many words as the longest."""
    most = max((each.shape[-1] for each in spellings), default=1)
    return [_pad(each, most) for each in spellings]


def to_floats(words: Integers) -> Floats:
    """Returns the numbers as float64, correct to the last bit or two."""
    is_negative = words[..., -1] < 0
    magnitude = normalise(np.where(is_negative[..., None], -words, words))
    value = np.zeros(words.shape[:-1])
    for position in range(magnitude.shape[-1]):
        value += magnitude[..., position] * 2.0 ** (_WORD_BITS * position - FRACTIONAL_BITS)
    return np.where(is_negative, -value, value)

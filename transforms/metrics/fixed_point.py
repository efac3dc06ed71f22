"""Numbers with 44 fractional bits, in words of 32 bits whose sums are exact in any order.

A number is the sum of its words times 2^(32 j - 44). All words but the last lie in [0, 2^32); the
last carries the sign, and there are as few words as keep it within 63 bits. So equal sums are
equal bytes.
"""

from typing import NamedTuple

import numpy as np

from servable_core.errors import InvalidArgumentError
from transforms.metrics.array_types import Floats, Integers

FRACTIONAL_BITS = 44
_SCALE = float(1 << FRACTIONAL_BITS)
WORD_BITS = 32
_WORD = 1 << WORD_BITS
# Adding this to a smaller number leaves it, rounded to 2^-44, in the last bits of the sum.
_ROUNDER = 1.5 * 2.0 ** (52 - FRACTIONAL_BITS)
_MAX_QUICK = 2.0 ** (51 - FRACTIONAL_BITS)
# Numbers whose sizes add up to less need no second word.
_MAX_ONE_WORD = float(1 << 61)
# More than a sum of floats is off.
_ROUNDING = 1 + 2.0**-20
# The last word is below 2^62, so one with 30 bits or fewer can take in the word before.
_MAX_FOLDED = 1 << 30
MAX_LAST_WORD = 1 << 62
# Six words: the square of the square of an error of 67 million, or of a weight of a million.
MAX_MAGNITUDE = 2.0**144


class Words(NamedTuple):
    """A word of some numbers each.

    Attributes:
        values: The words.
        size: What the sum of their absolute values does not exceed.
    """

    values: Integers
    size: float


def to_words(values: Floats, most: float | None = None) -> list[Words]:
    """Returns numbers rounded to multiples of 2^-44, the least word first; none if all are 0.

    Args:
        values: The numbers.
        most: What the size of none exceeds, where that is known.

    Raises:
        InvalidArgumentError: A value is not finite, or beyond `MAX_MAGNITUDE`.
    """
    if not values.size:
        return []
    if most is None:
        most = max(-float(values.min()), float(values.max()))
    if most == 0:
        return []
    if most < _MAX_QUICK:
        size = most * _SCALE * values.size
        if size > _MAX_ONE_WORD:
            size = float(np.abs(values).sum(dtype=np.float64)) * _SCALE * _ROUNDING
        if size <= _MAX_ONE_WORD:
            return [Words(_rounded(values), size + values.size)]
    scaled = values * np.float64(_SCALE)  # whatever floats they are, in 64 bits
    np.rint(scaled, out=scaled)
    largest = float(np.abs(scaled).max())
    if not largest <= MAX_MAGNITUDE * _SCALE:
        raise InvalidArgumentError(
            f"a value to sum must be finite and at most 2^144, got {values[~(np.abs(values) <= MAX_MAGNITUDE)][:1]}; scale it"
        )
    words = []
    for position in reversed(range(-(-int(np.frexp(largest)[1]) // WORD_BITS))):
        part = np.trunc(scaled * 2.0 ** (-WORD_BITS * position))
        scaled -= part * 2.0 ** (WORD_BITS * position)
        words.append(Words(part.astype(np.int64), float(_WORD) * part.size))
    return words[::-1]


def words_of(words: list[Words], place: int) -> list[Words]:
    """Returns the words of some of several numbers, from those of [numbers, rows]."""
    return [Words(each.values[place], each.size) for each in words]


def words_of_ones(rows: int) -> list[Words]:
    """Returns the words of so many ones, each of which counts a row."""
    return [Words(np.full(rows, 1 << FRACTIONAL_BITS), _SCALE * rows)]


def _rounded(values: Floats) -> Integers:
    """Returns small numbers as integers; quicker than scaling, rounding and converting."""
    found = np.add(values, _ROUNDER, dtype=np.float64).view(np.int64)
    found -= np.float64(_ROUNDER).view(np.int64)
    return found


def normalise(words: Integers, min_words: int = 1) -> Integers:
    """Returns the one spelling of sums of words, with as few words as hold all of them.

    Args:
        words: [..., words], each within 63 bits.
        min_words: How many there are at least; more than 1 to match other numbers.
    """
    if words.shape[-1] < min_words or not _is_carried(words):
        words = _carried(pad(words, max(min_words, words.shape[-1]) + 1))
    while words.shape[-1] > min_words and largest(words[..., -1]) < _MAX_FOLDED:
        lower = words[..., -2] + (words[..., -1] << WORD_BITS)
        words = np.concatenate([words[..., :-2], lower[..., None]], axis=-1)
    return words


def _is_carried(words: Integers) -> bool:
    """Returns whether all words are in their bounds already, as those of small sums are."""
    if not words.size:
        return True
    lower = words[..., :-1]
    is_low = not lower.size or (lower.min() >= 0 and lower.max() < _WORD)
    return bool(is_low and largest(words[..., -1]) < MAX_LAST_WORD)


def largest(words: Integers) -> float:
    """Returns the size of the largest word."""
    return float(max(words.max(initial=0), -words.min(initial=0)))


def addable(numbers: list[Integers]) -> Integers:
    """Returns numbers, [some, ..., words] each, after one another, spelled so that all can be added."""
    most = max(each.shape[-1] for each in numbers)
    together = np.concatenate([normalise(each, most) for each in numbers])
    if sum(largest(each) for each in numbers) < MAX_LAST_WORD:
        return together
    return spread(together)


def spread(words: Integers) -> Integers:
    """Returns the same numbers in words so small that billions of them can be added."""
    return _carried(pad(words, words.shape[-1] + 1))


def _carried(words: Integers) -> Integers:
    """Carries, in place, from each word to the next."""
    for position in range(words.shape[-1] - 1):
        words[..., position + 1] += words[..., position] >> WORD_BITS
        words[..., position] &= _WORD - 1
    return words


def pad(words: Integers, num_words: int) -> Integers:
    """Returns a copy with zeros as further words."""
    padded = np.zeros((*words.shape[:-1], num_words), np.int64)
    padded[..., : words.shape[-1]] = words
    return padded


def stacked(numbers: list[Integers]) -> Integers:
    """Returns several sums of the same cells, [cells, names, words], in words of one number."""
    most = max(each.shape[-1] for each in numbers)
    found = np.zeros((numbers[0].shape[0], len(numbers), most), dtype=np.int64)
    for i, each in enumerate(numbers):
        found[:, i, : each.shape[-1]] = each
    return found


def to_floats(words: Integers) -> Floats:
    """Returns the numbers as float64, correct to the last bit or two."""
    is_negative = words[..., -1] < 0
    magnitude = spread(np.where(is_negative[..., None], -words, words))
    value = np.zeros(words.shape[:-1])
    for position in range(magnitude.shape[-1]):
        value += magnitude[..., position] * 2.0 ** (WORD_BITS * position - FRACTIONAL_BITS)
    return np.where(is_negative, -value, value)

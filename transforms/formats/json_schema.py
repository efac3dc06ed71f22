"""The types of lines of JSON that do not agree on them: most lines decide."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from transforms.formats.parsed_stretches import parse_stretches

_MAX_ROUNDS = 8
# Of lines that Arrow refuses together although they look alike, so many are tried by themselves.
_MAX_TRIED = 256
_KINDS = {bool: "bool", int: "number", float: "number", str: "string", dict: "object"}


def tables_of_most(
    lines: Sequence[bytes],
    parse: Callable[[Sequence[bytes]], pa.Table],
    refusals: tuple[type[Exception], ...],
) -> list[pa.Table]:
    """Returns tables of lines that agree with each other, those that most lines agree with first.

    A key's kind of value is that of most lines. The lines that differ are a table of their own, which
    tells the types of keys that no other has; and so on, a few times.

    Args:
        lines: JSON objects, as Python takes them.
        parse: Makes a table of some of them.
        refusals: What it raises if they do not agree, or Arrow does not like them.
    """
    tables: list[pa.Table] = []
    left = [(line, _kinds(line)) for line in lines]
    for _ in range(_MAX_ROUNDS):
        if not left:
            break
        most = _kinds_of_most([kinds for _, kinds in left])
        alike = [kinds.items() <= most.items() for _, kinds in left]
        if not any(alike):
            alike[0] = True
        agreeing = [line for (line, _), is_alike in zip(left, alike, strict=True) if is_alike]
        left = [each for each, is_alike in zip(left, alike, strict=True) if not is_alike]
        tables += _tables(agreeing, parse, refusals)
    return tables


def _tables(
    lines: Sequence[bytes],
    parse: Callable[[Sequence[bytes]], pa.Table],
    refusals: tuple[type[Exception], ...],
) -> list[pa.Table]:
    try:
        return [parse(lines)]
    except refusals:
        tried = lines[:_MAX_TRIED]
    found = parse_stretches(lambda start, stop: parse(tried[start:stop]), len(tried), refusals)
    good = [each for each in found if each.result is not None]
    return [each.result for each in sorted(good, key=lambda each: each.start - each.stop)]


def _kinds(line: bytes) -> dict[str, str]:
    """Returns the kind of value of each key that has one."""
    try:
        row = json.loads(line)
    except ValueError:  # numbers that Arrow takes, but Python does not
        return {}
    return {name: kind for name, value in row.items() if (kind := _kind(value))}


def _kind(value: Any) -> str:
    if isinstance(value, list):
        return "list of " + next((_kind(each) for each in value if each is not None), "")
    return _KINDS.get(type(value), "")


def _kinds_of_most(rows: Sequence[Mapping[str, str]]) -> dict[str, str]:
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for kinds in rows:
        for name, kind in kinds.items():
            counts[name][kind] += 1
    return {name: counter.most_common(1)[0][0] for name, counter in counts.items()}

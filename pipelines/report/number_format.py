"""Numbers for people: as many digits as their uncertainty lets them mean."""

import math

from transforms.metrics import Estimate

NOT_DEFINED = "\N{EN DASH}"
_MINUS = "\N{MINUS SIGN}"
_MAX_DECIMALS = 6
_SMALL = 1e-6


def decimals_of(estimate: Estimate, level: float = 0.95) -> int:
    """Returns the decimals to show: two digits of the interval's half width, or four of the value."""
    low, high = estimate.interval(level)
    half = (high - low) / 2
    if math.isfinite(half) and half > 0:
        return digits_after_point(half)
    if float(estimate.value).is_integer() or not math.isfinite(estimate.value):
        return 0
    return _clamped(3 - math.floor(math.log10(abs(estimate.value))))


def digits_after_point(uncertainty: float) -> int:
    """Returns the decimals that show two digits of an uncertainty; of none, four."""
    return _clamped(1 - math.floor(math.log10(uncertainty))) if uncertainty > 0 else 4


def format_number(value: float, decimals: int) -> str:
    """Returns `1,234.50`, or a dash where the value is not defined."""
    if math.isnan(value):
        return NOT_DEFINED
    if 0 < abs(value) < _SMALL:
        return f"{value:.0e}".replace("-", _MINUS)
    return _unsigned_zero(f"{value:,.{decimals}f}").replace("-", _MINUS)


def format_change(value: float, decimals: int) -> str:
    """Returns the same with its sign."""
    text = format_number(value, decimals)
    is_positive = not math.isnan(value) and value > 0 and not _is_zero(text)
    return f"+{text}" if is_positive else text


def format_interval(estimate: Estimate, level: float, decimals: int, *, signed: bool) -> str:
    """Returns `[0.812, 0.845]`, or nothing where the interval is not known."""
    limits = estimate.interval(level)
    if any(math.isnan(each) for each in limits):
        return ""
    show = format_change if signed else format_number
    return "[{}, {}]".format(*(show(each, decimals) for each in limits))


def format_bound(estimate: Estimate) -> str:
    """Returns how far the value may be from the exact metric of the same rows; empty if it is exact."""
    error = estimate.certified_error
    return f"±{error:.1g}" if math.isfinite(error) and error > 0 else ""


def format_count(count: float) -> str:
    """Returns `1,234`."""
    return f"{count:,.0f}"


def counted(count: int, noun: str) -> str:
    """Returns `1 row` or `2 rows`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def printable(text: str, max_length: int = 200) -> str:
    """Returns text from the data on one line, fit for a terminal, and not longer than a limit."""
    shown = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
    return shown if len(shown) <= max_length else f"{shown[: max_length - 1]}…"


def _clamped(decimals: int) -> int:
    return max(0, min(_MAX_DECIMALS, decimals))


def _unsigned_zero(text: str) -> str:
    return text.removeprefix("-") if _is_zero(text) else text


def _is_zero(text: str) -> bool:
    return not text.strip("-0.,")

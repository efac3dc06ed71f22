"""What the manifest says of batching, in words."""

from collections import Counter
from collections.abc import Mapping
from typing import Any


def mean_batch_rows(manifest: Mapping[str, Any]) -> float:
    """Returns the rows per model call, of all models together."""
    sessions = manifest["batching"].values()
    num_runs = sum(each["num_runs"] for each in sessions)
    return sum(each["num_rows"] for each in sessions) / max(1, num_runs)


def batching_lines(manifest: Mapping[str, Any]) -> list[str]:
    """Returns the lines of a summary: how full batches were, and which size was found."""
    sessions = manifest["batching"]
    words = {name: _size_words(each) for name, each in sessions.items() if each["batch_size"]}
    lines = [f"  mean batch   {mean_batch_rows(manifest):,.0f} rows{_fill_words(sessions)}"]
    if len(set(words.values())) == 1:
        return [*lines, f"  batch size   {next(iter(words.values()))}"]
    return [*lines, *(f"  batch size   {name}: {each}" for name, each in words.items())]


def _fill_words(sessions: Mapping[str, Mapping[str, Any]]) -> str:
    total = {
        name: sum(each[name] for each in sessions.values())
        for name in ("num_rows", "num_slots", "num_cells", "num_padding_cells")
    }
    fill = f", {total['num_rows'] / max(1, total['num_slots']):.0%} full"
    if not total["num_cells"]:
        return fill
    waste = total["num_padding_cells"] / total["num_cells"]
    shapes = sum(each["num_shapes"] for each in sessions.values())
    return f"{fill}; {waste:.0%} padding, {shapes} shapes"


def _size_words(session: Mapping[str, Any]) -> str:
    """Returns the size that most workers have found, or have got to."""
    unit, flag = (
        ("cells", "max_batch_cells") if session["num_cells"] else ("rows", "max_batch_size")
    )
    found = [each["size"] for each in session["batch_size"] if each["is_frozen"]]
    sizes = found or [each["size"] for each in session["batch_size"]]
    size = Counter(sizes).most_common(1)[0][0]
    if found:
        return f"{size:,} {unit}, the best that was measured; pin it with --{flag}={size}"
    return f"{size:,} {unit}, not final: too few batches to measure others"

"""What the manifest says of time and of failures, in words: stages, bottleneck, loads, dead letters."""

from collections.abc import Mapping
from typing import Any

_SHOWN = ("read", "parse", "queue", "run", "convert", "write")
_WORDS = {
    "read": "reading: {share} of the units' time goes to waiting for rows",
    "parse": "parsing: {share} of the units' time goes to waiting for rows",
    "preprocess": "preprocessing: {share} of the units' time goes to waiting for rows",
    "bind": "making tensors: {share} of the units' time",
    "queue": "too few model calls at a time: {share} of the units' time goes to waiting for them",
    "run": "the model: batch threads are {share} busy",
    "convert": "converting outputs: {share} of the units' time",
    "write": "writing: {share} of the units' time",
}


def time_lines(manifest: Mapping[str, Any]) -> list[str]:
    """Returns the lines of a summary: seconds by stage, and what holds the job up, if that is known."""
    stage_secs = manifest["stage_secs"]
    shown = ", ".join(f"{name} {_secs(stage_secs[name])}" for name in _SHOWN)
    lines = [f"  seconds      {shown}"]
    bottleneck = manifest["bottleneck"]
    if bottleneck:
        words = _WORDS[bottleneck["stage"]].format(share=f"{bottleneck['share']:.0%}")
        lines.append(f"  bottleneck   {words}; try {', '.join(bottleneck['flags'])}")
    return lines


def _secs(secs: float) -> str:
    return f"{secs:.2f}" if secs < 10 else f"{secs:,.0f}"


def bytes_line(manifest: Mapping[str, Any]) -> str:
    """Returns the line of a summary that tells the input's size and the output's."""
    read, written = (_size(manifest[name]) for name in ("bytes_read", "bytes_written"))
    return f"  bytes        {read} read, {written} written"


def _size(num_bytes: int) -> str:
    if num_bytes < 2**20:
        return f"{num_bytes / 2**10:,.0f} KiB"
    return f"{num_bytes / 2**20:,.1f} MiB"


def load_words(manifest: Mapping[str, Any], name: str, version: int) -> str:
    """Returns how long a model took to load, and to warm up if it did; nothing if nobody has said."""
    took = manifest["model_loads"].get(f"{name}/{version}")
    if took is None:
        return ""
    warmup = f", warmed up in {took['warmup_secs']:.1f} s" if took["warmup_secs"] >= 0.05 else ""
    return f", loaded in {took['load_secs']:.1f} s{warmup}"


def failure_lines(manifest: Mapping[str, Any]) -> list[str]:
    """Returns what failed and did not stop the job: records by stage, and attempts at units."""
    lines = []
    letters = manifest["dead_letters"]
    if letters:
        stages = ", ".join(f"{number:,} in {stage}" for stage, number in letters.items())
        lines.append(f"  dead letters {sum(letters.values()):,}: {stages}")
    if manifest["retries"]:
        lines.append(f"  retries      {manifest['retries']:,} of units, after errors that passed")
    return lines

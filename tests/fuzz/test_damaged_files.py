"""Damaged files of every format, and damaged models: no hang, no traceback, no row lost."""

from pathlib import Path

import pytest

from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from tests.fuzz.supervision import Findings, run_cases
from tests.models import save_signatures

# Cases of the long test: 10,000 together.
_COUNTS = {
    "parquet": 2800,
    "tfrecord": 1600,
    "tfrecord_gzip": 900,
    "csv": 1400,
    "json_lines": 1300,
    "letters": 600,
    "models": 1400,
}
_CHUNK_CASES = 250


@pytest.fixture(scope="session", name="model")
def _model(tmp_path_factory):
    """`a`, `b` and `s` -> `score` = a + 2 b."""
    tf = import_tensorflow()
    weights = tf.Variable([1.0, 2.0])
    numbers = tf.TensorSpec([None], tf.float32)
    specs = {"a": numbers, "b": numbers, "s": tf.TensorSpec([None], tf.string)}

    def call(a, b, s):
        nothing = 0.0 * tf.cast(tf.strings.length(s), tf.float32)
        return {"score": a * weights[0] + b * weights[1] + nothing}

    base_path = tmp_path_factory.mktemp("models") / "sums"
    save_signatures(base_path, 1, {"serving_default": (call, specs)}, [weights])
    return str(base_path)


def _check(findings: Findings, num_cases: int) -> None:
    listed = "\n".join(findings.faults[:20])
    assert not findings.faults, f"{len(findings.faults)} faults, among them:\n{listed}"
    assert findings.num_cases == num_cases
    # Each corpus has damage that is put aside, or refused, and damage that costs nothing.
    for corpus in _COUNTS:
        kinds = [name for name in findings.outcomes if name.startswith(f"{corpus}: ")]
        assert len(kinds) > 1, findings.outcomes


def test_some_hundreds(model: str, tmp_path: Path) -> None:
    """Every format, with and without dead letters, and models."""
    cases = [(name, each) for name, count in _COUNTS.items() for each in range(count // 40)]
    chunks = [cases[::2], cases[1::2]]
    _check(run_cases(chunks, model, tmp_path, num_processes=2), len(cases))


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_ten_thousand(model: str, tmp_path: Path) -> None:
    """The same, more often."""
    cases = [(name, each) for name, count in _COUNTS.items() for each in range(count)]
    starts = range(0, len(cases), _CHUNK_CASES)
    chunks = [cases[start : start + _CHUNK_CASES] for start in starts]
    _check(run_cases(chunks, model, tmp_path, num_processes=2), 10_000)

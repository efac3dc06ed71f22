"""Damaged files of every format, and damaged models: no hang, no traceback, no row lost."""

from pathlib import Path

import pytest

from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow
from tests.fuzz.supervision import Chunk, Findings, run_cases
from tests.models import save_signatures

# Cases of the long test: 10,000 together.
_LONG = {
    "parquet": 3000,
    "tfrecord": 1800,
    "tfrecord_gzip": 1000,
    "csv": 1400,
    "json_lines": 1400,
    "models": 1400,
}
_CHUNK_CASES = 200


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


def _chunks(counts: dict[str, int], first: int = 0) -> list[Chunk]:
    return [
        Chunk(corpus, start, min(start + _CHUNK_CASES, first + count))
        for corpus, count in counts.items()
        for start in range(first, first + count, _CHUNK_CASES)
    ]


def _check(findings: Findings, num_cases: int) -> None:
    print(*sorted(findings.outcomes.items()), sep="\n")  # noqa: T201 - for whoever looks
    assert not findings.faults, f"{len(findings.faults)} faults:\n" + "\n".join(
        findings.faults[:20]
    )
    assert findings.num_cases == num_cases


def test_a_few_hundred(model: str, tmp_path: Path) -> None:
    """Every format, with and without dead letters."""
    counts = {name: count // 40 for name, count in _LONG.items()}
    _check(run_cases(_chunks(counts), model, tmp_path, 2), sum(counts.values()))


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_ten_thousand(model: str, tmp_path: Path) -> None:
    """The same, more often."""
    _check(run_cases(_chunks(_LONG), model, tmp_path, 2), sum(_LONG.values()))

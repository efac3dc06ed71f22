"""Metrics are told to be of these formulas by a digest of the code."""

import sys
from types import SimpleNamespace

import pytest

from transforms.evaluation import formula_digest as module
from transforms.evaluation.formula_digest import formula_digest


@pytest.fixture(autouse=True)
def _forget():
    yield
    module._our_digest.cache_clear()


def _digest_of(monkeypatch, files, packages=None):
    """Returns the digest of a package with these files."""
    listed = [
        SimpleNamespace(name=name, read_bytes=text.encode) for name, text in sorted(files.items())
    ]
    monkeypatch.setattr(
        module.resources, "files", lambda _: SimpleNamespace(iterdir=lambda: listed)
    )
    monkeypatch.setattr(module, "package_versions", lambda: packages or {"numpy": "2"})
    module._our_digest.cache_clear()
    return formula_digest()


def test_it_is_that_of_the_code(monkeypatch):
    first = _digest_of(monkeypatch, {"auc.py": "1 + 1", "b.txt": "x"})
    assert _digest_of(monkeypatch, {"auc.py": "1 + 1", "b.txt": "y"}) == first
    assert _digest_of(monkeypatch, {"auc.py": "1 + 2"}) != first
    assert _digest_of(monkeypatch, {"auc.py": "1 + 1", "new.py": ""}) != first
    assert _digest_of(monkeypatch, {"auc.py": "1 + 1"}, {"numpy": "3"}) != first


def test_our_own_code_is_found():
    contents = list(module._contents())
    assert any(b"def formula_digest" in each for each in contents)
    assert any(b"def wilson_interval" in each for each in contents)


def test_metrics_of_your_own_count(monkeypatch, tmp_path):
    path = tmp_path / "mine.py"
    digests = []
    for text in ("a = 1", "a = 2"):
        path.write_text(text)
        monkeypatch.setitem(sys.modules, "mine", SimpleNamespace(__file__=str(path)))
        digests.append(formula_digest("mine:extra"))
    assert len({formula_digest(), *digests}) == 3

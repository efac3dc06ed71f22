import pytest

from servable_core.errors import FailedPreconditionError
from servable_core.runtime.file_system import LocalFileSystem
from servable_core.servables.saved_model.fingerprint import check_fingerprint, fingerprint_version
from tests.servable_core.servables.saved_model.conftest import RemoteFileSystem


def _fingerprint(path):
    file_system = LocalFileSystem()
    return fingerprint_version(str(path), file_system.list_files(str(path)), file_system)


def _flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


class TestFingerprint:
    def test_depends_on_the_content_alone(self, models, copy):
        """A copy elsewhere, or in another store, has the same fingerprint."""
        remote = RemoteFileSystem(copy)
        files = remote.list_files("mem://store")
        assert _fingerprint(copy) == _fingerprint(models["linear"])
        assert fingerprint_version("mem://store", files, remote) == _fingerprint(copy)

    def test_models_differ(self, models):
        """Each model has its own."""
        assert len({_fingerprint(path) for path in models.values()}) == len(models)

    @pytest.mark.parametrize(
        "name", ["saved_model.pb", "fingerprint.pb", "variables/variables.index"]
    )
    def test_changed_bytes(self, copy, name):
        """One bit of the files that tell what the model is changes it."""
        before = _fingerprint(copy)
        _flip(copy / name)
        assert _fingerprint(copy) != before

    def test_changed_sizes(self, copy):
        """Any file of another size changes it."""
        for path in sorted(each for each in copy.rglob("*") if each.is_file()):
            before = _fingerprint(copy)
            path.write_bytes(path.read_bytes() + b"x")
            assert _fingerprint(copy) != before, path

    def test_added_removed_and_renamed_files(self, copy):
        """So does a file more, a file less, or a file of another name."""
        seen = {_fingerprint(copy)}
        asset = copy / "assets" / "vocabulary.txt"
        asset.parent.mkdir(exist_ok=True)
        asset.write_text("words")
        seen.add(_fingerprint(copy))
        asset.rename(asset.with_name("dictionary.txt"))
        seen.add(_fingerprint(copy))
        (copy / "fingerprint.pb").unlink()
        seen.add(_fingerprint(copy))
        assert len(seen) == 4

    def test_time_does_not_matter(self, copy):
        """Touching a file changes nothing."""
        before = _fingerprint(copy)
        for path in copy.rglob("*"):
            path.touch()
        assert _fingerprint(copy) == before


def test_check():
    """Equal fingerprints pass; others are told with the model and what to do."""
    check_fingerprint("/m/1", "a" * 64, "a" * 64)
    with pytest.raises(FailedPreconditionError) as caught:
        check_fingerprint("/m/1", "a" * 64, "b" * 64)
    message = str(caught.value)
    assert message.startswith("the model at /m/1 changed after the job was planned")
    assert "aaaaaaaaaaaa then, bbbbbbbbbbbb now" in message
    assert "--if_exists=overwrite" in message

"""Models that are not there, are broken, or are half-copied."""

import shutil
from pathlib import Path

import pytest

from tests.bad_input.shards import save_in_two_shards

_INDEX = "variables/variables.index"
_DATA = "variables/variables.data-00000-of-00001"


@pytest.fixture(name="copy")
def _copy(base_path, tmp_path):
    """A copy of version 1 alone, to be broken."""
    shutil.copytree(f"{base_path}/1", tmp_path / "ranker" / "1")
    return tmp_path / "ranker"


class TestBasePath:
    def test_missing_directory(self, refusal, tmp_path):
        """A base path that does not exist is named, with an example of what was expected."""
        path = tmp_path / "nothing"
        assert refusal(f"--model_base_path={path}") == (
            f"--model_base_path={path} does not exist or is empty; expected versions below it,"
            f" such as {path}/1/saved_model.pb"
        )

    def test_empty_directory(self, refusal, tmp_path):
        """An empty base path is refused like a missing one."""
        (tmp_path / "empty").mkdir()
        message = refusal(f"--model_base_path={tmp_path}/empty")
        assert message.startswith(f"--model_base_path={tmp_path}/empty does not exist or is empty")

    def test_file_instead_of_directory(self, refusal, data_path):
        """A file is no base path."""
        assert refusal(f"--model_base_path={data_path}") == (
            f"--model_base_path={data_path} is a file; expected the directory of a model's versions"
        )

    def test_no_numeric_version(self, refusal, copy):
        """Directories without a number for a name are no versions, and the message says so."""
        (copy / "1").rename(copy / "v1")
        message = refusal(f"--model_base_path={copy}")
        assert message == (
            f"--model_base_path={copy} has no version directory: a version is a directory with a"
            f" number for a name, such as {copy}/1/saved_model.pb"
        )

    def test_version_directory_itself(self, refusal, base_path):
        """Who points at a version is told the two flags that mean it."""
        message = refusal(f"--model_base_path={base_path}/3")
        assert message.endswith(
            "; it looks like a version itself:"
            f" give --model_base_path={base_path} --model_version=3"
        )


class TestVersions:
    def test_absent_version_lists_those_present(self, refusal, base_path):
        """A version that is not there is named beside the ones that are."""
        assert refusal("--model_version=2") == (
            f"--model_base_path={base_path}: version 2 not found; versions present: 1, 3;"
            " choose with --model_version"
        )

    def test_one_of_several_is_absent(self, refusal):
        """Only the missing ones of a list are named."""
        assert "version 5 not found; versions present: 1, 3" in refusal("--model_version=3,5")

    @pytest.mark.parametrize("text", ["newest", "latest:0x1", "1;3", "-1", "latest:"])
    def test_text_that_is_no_version(self, refusal, text):
        """Anything but the documented forms is refused with the list of them."""
        assert refusal(f"--model_version={text}") == (
            f"--model_version: bad version {text!r}: expected 'latest', 'latest:N', 'all', a version"
            " like '3', or a list like '3,5'"
        )

    def test_zero_latest_versions(self, refusal):
        """`latest:0` would select nothing."""
        message = refusal("--model_version=latest:0")
        assert message == "--model_version: num_versions must be 1 or more, got 0"

    def test_unknown_signature_lists_those_present(self, refusal):
        """A signature that is not there is named beside the ones that are."""
        assert refusal("--signature_name=predict") == (
            "model ranker/3 has no signature 'predict'; it has 'serving_default', 'wide':"
            " choose one with --signature_name"
        )


class TestGraph:
    @pytest.mark.parametrize("keep", [0.3, 0.5, 0.99])
    def test_truncated(self, refusal, copy, keep):
        """A graph that was cut off does not parse; its path and length are told."""
        graph = copy / "1" / "saved_model.pb"
        content = graph.read_bytes()[: int(keep * graph.stat().st_size)]
        graph.write_bytes(content)
        assert refusal(f"--model_base_path={copy}") == (
            f"{graph} is corrupt: it does not parse as a SavedModel ({len(content)} bytes);"
            " copy or export the version again"
        )

    def test_garbage(self, refusal, copy):
        """Bytes that are no proto are called corrupt."""
        graph = copy / "1" / "saved_model.pb"
        graph.write_bytes(b"\xffgarbage" * 100)
        assert refusal(f"--model_base_path={copy}").startswith(f"{graph} is corrupt")

    def test_empty(self, refusal, copy):
        """An empty file parses as a proto, but holds no graph to serve."""
        graph = copy / "1" / "saved_model.pb"
        graph.write_bytes(b"")
        assert refusal(f"--model_base_path={copy}") == (
            f"{graph} holds no graph with the tag 'serve': empty, truncated, or not exported for"
            " serving; copy or export the version again"
        )

    def test_missing(self, refusal, copy):
        """A version that has variables but no graph is incomplete."""
        (copy / "1" / "saved_model.pb").unlink()
        message = refusal(f"--model_base_path={copy}")
        assert message.startswith(
            f"{copy}/1 is not a complete SavedModel: it has no saved_model.pb"
        )
        assert message.endswith("copy or export the version again")


def _delete_variables(version):
    shutil.rmtree(version / "variables")


def _delete_data(version):
    (version / _DATA).unlink()


def _cut_the_last_byte(version):
    (version / _DATA).write_bytes((version / _DATA).read_bytes()[:-1])


def _leave_partial_transfer(version):
    (version / _DATA).rename(version / "variables/.variables.data-00000-of-00001.Xy12Zw")


def _truncate_data(version):
    (version / _DATA).write_bytes((version / _DATA).read_bytes()[:5])


def _empty_data(version):
    (version / _DATA).write_bytes(b"")


def _truncate_index(version):
    (version / _INDEX).write_bytes((version / _INDEX).read_bytes()[:40])


def _empty_index(version):
    (version / _INDEX).write_bytes(b"")


def _garbage_index(version):
    (version / _INDEX).write_bytes(b"x" * 1000)


class TestVariables:
    @pytest.mark.parametrize(
        ("damage", "words"),
        [
            (
                _delete_variables,
                "is half-copied: the graph has variables, but variables/variables.index is missing",
            ),
            (_delete_data, "is half-copied: variables/variables.data-00000-of-00001 is missing"),
            (_leave_partial_transfer, "(0 of 1 variable files are there); copy the version again"),
            (_truncate_data, "data-00000-of-00001 is truncated: it holds 5 bytes, its variables"),
            (_cut_the_last_byte, "data-00000-of-00001 is truncated: it holds "),
            (_empty_data, "data-00000-of-00001 is truncated: it holds 0 bytes, its variables need"),
            (_truncate_index, "variables.index is corrupt"),
            (_empty_index, "variables.index is corrupt"),
            (_garbage_index, "variables.index is corrupt"),
        ],
    )
    def test_half_copied(self, refusal, copy, damage, words):
        """Whatever is missing of the variables is found without loading them, and told."""
        damage(copy / "1")
        message = refusal(f"--model_base_path={copy}")
        assert message.startswith(f"{copy}/1")
        assert words in message
        assert "the version again" in message

    def test_wrong_bytes_of_the_right_size(self, refusal, copy):
        """What only loading finds is told before anything is written, and once."""
        data = copy / "1" / "variables/variables.data-00000-of-00001"
        content = bytearray(data.read_bytes())
        content[0] ^= 1
        data.write_bytes(content)
        message = refusal(f"--model_base_path={copy}", "--model_version=1")
        assert "/1 cannot be loaded: " in message
        assert message.endswith("copy or export the version again")

    def test_one_of_several_shards_is_missing(self, refusal, copy):
        """A file that the index counts must be there, and its name is told."""
        save_in_two_shards(copy / "1")
        (copy / "1" / "variables/variables.data-00001-of-00002").unlink()
        assert refusal(f"--model_base_path={copy}") == (
            f"{copy}/1 is half-copied: variables/variables.data-00001-of-00002 is missing (1 of 2"
            " variable files are there); copy the version again"
        )

    def test_other_versions_do_not_matter(self, refusal, base_path, tmp_path):
        """A broken version is no reason to refuse others, nor others a reason to accept it."""
        both = tmp_path / "both"
        shutil.copytree(base_path, both)
        _delete_variables(both / "3")
        message = refusal(f"--model_base_path={both}", "--model_version=all")
        assert message.startswith(f"{both}/3 is half-copied")
        assert "no such column" in refusal(
            f"--model_base_path={both}", "--model_version=1", "--key=nothing"
        )

    def test_temporary_names_beside_whole_files_are_no_harm(self, refusal, copy):
        """A stray temporary file of a copying tool does not make a whole model a broken one."""
        stray = Path(copy / "1" / "variables" / ".variables.data-00000-of-00001.Xy12Zw")
        stray.write_bytes(b"left behind")
        assert "no such column" in refusal(f"--model_base_path={copy}", "--key=nothing")

"""Output directories that hold something, are no directories, or cannot be written."""

import pytest

from pipelines.cli import main


class TestForeignContent:
    @pytest.mark.parametrize("if_exists", ["error", "overwrite", "resume"])
    def test_other_files(self, refusal, output, if_exists):
        """Files that are not ours are never touched, whatever `--if_exists` says."""
        output.mkdir()
        (output / "thesis.tex").write_text("years of work")
        assert refusal(f"--if_exists={if_exists}") == (
            f"--output={output} is not empty and holds no plan of an earlier job (it has"
            " thesis.tex); choose another directory or empty it"
        )
        assert (output / "thesis.tex").read_text() == "years of work"

    def test_parts_without_a_plan(self, refusal, output):
        """Parts of which no plan tells are refused, too."""
        (output / "model_name=m").mkdir(parents=True)
        assert "(it has model_name=m)" in refusal()

    def test_unreadable_plan(self, refusal, output):
        """A plan that does not parse is no reason to start over silently."""
        (output / "_plan").mkdir(parents=True)
        (output / "_plan" / "plan.json").write_text("{")
        message = refusal("--if_exists=resume")
        assert str(output) in message


class TestNoDirectory:
    @pytest.mark.parametrize("if_exists", ["error", "overwrite", "resume"])
    def test_file(self, refusal, output, if_exists):
        """A file is refused and kept."""
        output.write_text("a file")
        assert refusal(f"--if_exists={if_exists}") == (
            f"--output={output} is a file; expected a directory, new or empty"
        )

    @pytest.mark.parametrize("below", ["sub", "sub/directory"])
    def test_below_a_file(self, refusal, output, below):
        """A directory that cannot be made is refused with what the system said."""
        output.write_text("a file")
        message = refusal(f"--output={output}/{below}")
        assert message.startswith(f"--output={output}/{below} cannot be written: ")
        assert "Not a directory" in message

    def test_where_nothing_can_be_made(self, refusal):
        """So is one in a file system that takes no files."""
        message = refusal("--output=/proc/no/such/place")
        assert message.startswith("--output=/proc/no/such/place cannot be written: ")


class TestEarlierJob:
    @pytest.fixture(name="finished")
    def _finished(self, precompute_args, output, capfd):
        assert main(precompute_args("--limit=5")) == 0
        capfd.readouterr()
        return output

    def test_finished(self, refusal, finished):
        """A finished job is kept, and the message has the two flags that go on from there."""
        assert refusal() == (
            f"--output={finished} holds a finished job; continue it with --if_exists=resume, replace"
            " it with --if_exists=overwrite, or choose another directory"
        )

    def test_unfinished(self, refusal, finished):
        """An unfinished job is called so."""
        (finished / "_SUCCESS").unlink()
        assert refusal().startswith(f"--output={finished} holds an unfinished job; continue it")

    @pytest.mark.parametrize(
        ("flag", "asked", "planned"),
        [
            ("--key=text", "--key=text", "id"),
            ("--limit=6", "--limit=6", "5"),
            ("--model_version=1", "--model_version=1", "latest"),
            ("--deterministic", "--deterministic=True", "False"),
        ],
    )
    def test_conflicting_flag(self, refusal, finished, flag, asked, planned):
        """A flag that says otherwise than the plan is refused with both values."""
        assert refusal("--if_exists=resume", flag) == (
            f"{asked} conflicts with the plan in {finished}, which has {planned}; leave the"
            " flag out to resume, or start anew with --if_exists=overwrite"
        )

    def test_bad_input_keeps_what_would_be_overwritten(self, refusal, finished):
        """`--if_exists=overwrite` deletes nothing before all that can be checked is."""
        assert "no such column" in refusal("--if_exists=overwrite", "--passthrough=nothing")
        assert (finished / "_SUCCESS").exists()

"""Output directories that hold something, are no directories, or cannot be written."""

import shutil

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


class TestOverlap:
    @pytest.fixture(name="data")
    def _data(self, data_path, tmp_path):
        data = tmp_path / "data"
        data.mkdir()
        shutil.copy(data_path, data / "rows.parquet")
        return data

    @pytest.mark.parametrize("name", ["", "/sub", "/*.parquet", "/_tmp/rows.parquet"])
    @pytest.mark.parametrize("if_exists", ["error", "overwrite", "resume"])
    def test_input_in_the_output(self, refusal, data, name, if_exists):
        """What is read must not lie where jobs delete, and is kept."""
        path = f"{data}{name}"
        flags = (f"--input={path}", f"--output={data}", f"--if_exists={if_exists}")
        assert refusal(*flags) == (
            f"--input and --output overlap: {path} lies in --output={data}, where jobs delete and"
            " write; choose an output directory elsewhere"
        )
        assert [each.name for each in data.iterdir()] == ["rows.parquet"]

    @pytest.mark.parametrize("name", ["out", "a/b/out", "_out"])
    def test_output_in_an_input_directory(self, refusal, data, name):
        """The next job over that directory would read this one's results as rows."""
        message = refusal(f"--input={data}", f"--output={data}/{name}")
        assert message.startswith(
            f"--input and --output overlap: --output={data}/{name} lies in the directory --input={data}"
        )
        assert [each.name for each in data.iterdir()] == ["rows.parquet"]

    def test_output_that_a_glob_matches(self, refusal, data):
        """A glob across directories reads the output as well; one that ends above it does not."""
        message = refusal(f"--input={data}/**.parquet", f"--output={data}/out")
        assert message.startswith("--input and --output overlap: the glob --input=")
        assert [each.name for each in data.iterdir()] == ["rows.parquet"]

    def test_output_beside_the_files_of_a_glob(self, precompute_args, data):
        """Such an output may lie in the same directory as the input files."""
        assert main(precompute_args(f"--input={data}/*.parquet", f"--output={data}/out")) == 0

    def test_through_links(self, refusal, data, tmp_path):
        """Links do not hide that both are the same place."""
        (tmp_path / "link").symlink_to(data)
        message = refusal(f"--input={tmp_path}/link/rows.parquet", f"--output={data}")
        assert message.startswith("--input and --output overlap: ")
        message = refusal(f"--input={data}", f"--output={tmp_path}/link/out")
        assert message.startswith("--input and --output overlap: ")

    def test_a_linked_file_in_the_output(self, refusal, precompute_args, data, output, capfd):
        """Nor does a link among the input files that leads to the output."""
        assert main(precompute_args(f"--input={data}/*.parquet")) == 0
        capfd.readouterr()
        part = next(output.glob("model_name=*/model_version=*/*.parquet"))
        (data / "linked.parquet").symlink_to(part)
        message = refusal(
            f"--input={data}/linked.parquet", "--if_exists=overwrite", "--input_map=x=score"
        )
        assert message.startswith("--input and --output overlap: ")
        assert part.exists()

    def test_model_in_the_output(self, refusal, base_path, tmp_path):
        """A model is not deleted for a job that runs it."""
        shutil.copytree(base_path, tmp_path / "place" / "_tmp" / "ranker")
        place = tmp_path / "place"
        message = refusal(f"--model_base_path={place}/_tmp/ranker", f"--output={place}")
        assert message.startswith(
            f"--model_base_path and --output overlap: {place}/_tmp/ranker lies in --output={place}"
        )
        assert (place / "_tmp" / "ranker" / "3").is_dir()

    def test_output_in_a_model_version(self, refusal, base_path, tmp_path):
        """Files in a version directory would change the model."""
        shutil.copytree(base_path, tmp_path / "ranker")
        message = refusal(
            f"--model_base_path={tmp_path}/ranker", f"--output={tmp_path}/ranker/3/out"
        )
        assert "lies in the model version" in message
        assert not (tmp_path / "ranker" / "3" / "out").exists()


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
        """A directory that cannot be made is refused with what is in its way."""
        output.write_text("a file")
        assert refusal(f"--output={output}/{below}") == (
            f"--output={output}/{below} lies below {output}, which is a file; expected a directory, new or empty"
        )

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

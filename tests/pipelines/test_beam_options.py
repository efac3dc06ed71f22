import pytest

from pipelines.beam_options import LOCAL_WORKERS, check_beam_args, choose_runner, flag_value
from servable_core.errors import InvalidArgumentError


class TestChooseRunner:
    @pytest.mark.parametrize(
        "args",
        [
            [],
            ["--runner=DirectRunner"],
            ["--runner=FnApiRunner"],
            ["--runner=directrunner"],
            ["--runner=direct"],
            ["--runner=SwitchingDirectRunner"],
        ],
    )
    def test_local(self, args):
        """Local jobs run on FnApiRunner, however Beam spells the runner, with threads here."""
        choice = choose_runner(args)
        assert choice.name == "FnApiRunner"
        assert choice.args == ("--runner=FnApiRunner", f"--direct_num_workers={LOCAL_WORKERS}")
        assert choice.is_local
        assert choice.is_in_process

    @pytest.mark.parametrize(
        ("mode", "is_in_process"),
        [("in_memory", True), ("multi_threading", True), ("multi_processing", False)],
    )
    def test_modes(self, mode, is_in_process):
        """Workers of `multi_processing` are other processes on this machine."""
        choice = choose_runner([f"--direct_running_mode={mode}"])
        assert choice.is_local
        assert choice.is_in_process == is_in_process

    def test_number_of_workers_is_kept(self):
        """What the user gave is not overridden, and other flags are passed on."""
        choice = choose_runner(["--direct_num_workers=5", "--job_name=j"])
        assert choice.args == ("--runner=FnApiRunner", "--direct_num_workers=5", "--job_name=j")

    @pytest.mark.parametrize("runner", ["FlinkRunner", "PortableRunner", "my.module.Runner"])
    def test_others(self, runner):
        """Other runners get the arguments as they are."""
        args = [f"--runner={runner}", "--job_name=j"]
        choice = choose_runner(args)
        assert (choice.name, choice.args) == (runner, tuple(args))
        assert not choice.is_local
        assert not choice.is_in_process

    def test_prism_is_asked_for(self):
        """Who says where Beam's other local engine lies wants it."""
        choice = choose_runner(["--runner=DirectRunner", "--prism_location=/p"])
        assert not choice.is_local


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], None),
        (["--name=a"], "a"),
        (["--name=a", "--name=b"], "b"),
        (["--name="], ""),
        (["--name=a=b"], "a=b"),
        (["--name_more=a"], None),
        (["--name"], None),
    ],
)
def test_flag_value(args, expected):
    """The last value wins, and only whole names count."""
    assert flag_value(args, "name") == expected


class TestCheckBeamArgs:
    @pytest.mark.parametrize(
        ("args", "raw_args"),
        [
            ([], []),
            (["--runner=DirectRunner", "--direct_num_workers=3", "--streaming"], []),
            (["--runner=flink", "--flink_master=h:1"], []),
            (["--runner=my.module.Runner"], []),
            ([], ["--only_a_runner_knows=1", "--runner=DataflowRunner"]),
        ],
    )
    def test_good(self, args, raw_args):
        """Beam's flags pass, and after the separator any flag does."""
        check_beam_args(args, raw_args, ["--limit"])

    @pytest.mark.parametrize(
        ("args", "words"),
        [
            (["--limt=1"], "unknown flag --limt; did you mean --limit?"),
            (["--job_nam=1"], "unknown flag --job_nam; did you mean --job_name?"),
            (["--qqqqqqq=1"], "unknown flag --qqqqqqq (flags that only a runner knows"),
            (["word"], "unexpected argument 'word'"),
            (["-x"], "unexpected argument '-x'"),
            (["--direct_num_workers=x"], "Beam's argument --direct_num_workers: invalid int value"),
            (["--runner=Nope"], "--runner=Nope is unknown; "),
        ],
    )
    def test_bad(self, args, words):
        """What Beam does not know, or not take, is refused with the way out."""
        with pytest.raises(InvalidArgumentError) as caught:
            check_beam_args(args, [], ["--limit"])
        assert str(caught.value).startswith(words)

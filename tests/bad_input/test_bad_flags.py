"""Flags that do not exist, are missing, or have values that mean nothing."""

import pytest


class TestUnknownFlags:
    @pytest.mark.parametrize(
        ("flag", "near"),
        [
            ("--passthru=text", "--passthrough"),
            ("--unit_row=5", "--unit_rows"),
            ("--model_verison=3", "--model_version"),
            ("--runer=DirectRunner", "--runner"),
            ("--direct_num_worker=2", "--direct_num_workers"),
        ],
    )
    def test_close_match(self, refusal, flag, near):
        """A misspelled flag, ours or Beam's, is named with the nearest one."""
        assert refusal(flag) == (
            f"unknown flag {flag.split('=')[0]}; did you mean {near}?"
            " (flags that only a runner knows stand after `--`)"
        )

    def test_no_close_match(self, refusal):
        """A flag like no other is named alone."""
        message = refusal("--zzzzzz=1")
        assert message == (
            "unknown flag --zzzzzz (flags that only a runner knows stand after `--`)"
        )

    def test_abbreviations_are_unknown(self, refusal):
        """`--limi` is not taken for `--limit`."""
        assert refusal("--limi=3").startswith("unknown flag --limi; did you mean --limit?")

    def test_misspelled_required_flag(self, refusal):
        """A required flag that was misspelled is called misspelled rather than missing."""
        message = refusal("--ouput=elsewhere", without=["--output"])
        assert message.startswith("unknown flag --ouput; did you mean --output?")

    def test_stray_argument(self, refusal):
        """A word that is no flag is repeated with the form of flags."""
        message = refusal("--limit=3", "stray")
        assert message == "unexpected argument 'stray'; flags are written --name=value"


class TestBeamFlags:
    def test_value_of_another_type(self, refusal):
        """Beam's own flags are checked before anything starts, without Beam's pages of usage."""
        assert refusal("--direct_num_workers=two") == (
            "Beam's argument --direct_num_workers: invalid int value: 'two'"
        )

    def test_number_of_workers(self, refusal):
        """Beam would run into an IndexError."""
        assert refusal("--direct_num_workers=-1") == (
            "--direct_num_workers must be 0 (one for each core) or more, got -1"
        )

    def test_choice(self, refusal):
        """A choice that Beam does not offer is refused with those that it does."""
        message = refusal("--direct_running_mode=threads")
        assert message.startswith(
            "Beam's argument --direct_running_mode: invalid choice: 'threads'"
        )
        assert "multi_processing" in message

    def test_value_after_the_separator(self, refusal):
        """What stands after `--` need not be known, but a known flag still needs a good value."""
        message = refusal("--", "--only_a_runner_knows=1", "--direct_num_workers", "two")
        assert message.startswith("Beam's argument --direct_num_workers: invalid int value")

    @pytest.mark.parametrize(
        "flags", [["--runner=DataflowRuner"], ["--", "--runner", "DataflowRuner"]]
    )
    def test_unknown_runner(self, refusal, flags):
        """A runner that does not exist is refused with the nearest one and the list."""
        message = refusal(*flags)
        assert message.startswith(
            "--runner=DataflowRuner is unknown; did you mean DataflowRunner? there are: "
        )
        assert "FlinkRunner" in message
        assert message.endswith("or give package.module.Class")


class TestMissingFlags:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("--model_base_path", "the directory with the model's versions"),
            ("--input", "files, directories or quoted globs"),
            ("--output", "the directory to write to"),
        ],
    )
    def test_required(self, refusal, name, expected):
        """A required flag that is missing is named with what belongs there."""
        assert refusal(without=[name]) == f"{name} is missing: {expected}"

    @pytest.mark.parametrize("name", ["--model_base_path", "--output"])
    def test_empty(self, refusal, name):
        """A required flag with nothing behind the `=` is missing."""
        assert refusal(f"{name}=").startswith(f"{name} is missing: ")

    def test_without_a_value(self, refusal):
        """A flag that takes a value is refused without one."""
        message = refusal("--limit")
        assert message == (
            "argument --limit: expected one argument; see run_pipeline.py precompute --help"
        )

    def test_switch_with_a_value(self, refusal):
        """A flag that takes no value is refused with one."""
        assert refusal("--dry_run=1").startswith(
            "argument --dry_run: ignored explicit argument '1'"
        )


class TestNumbers:
    @pytest.mark.parametrize(
        "name",
        [
            "unit_bytes",
            "unit_rows",
            "limit",
            "num_batch_threads",
            "max_in_flight_bytes",
            "max_unit_retries",
        ],
    )
    @pytest.mark.parametrize("text", ["x", "1.5", "1e6", "", "0x10"])
    def test_no_whole_number(self, refusal, name, text):
        """Text that is no whole number is repeated with the flag."""
        assert refusal(f"--{name}={text}") == (
            f"argument --{name}: expected a whole number, got {text!r};"
            " see run_pipeline.py precompute --help"
        )

    @pytest.mark.parametrize("value", [0, -1])
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("unit_bytes", "positive"),
            ("unit_rows", "positive"),
            ("limit", "1 or more"),
            ("max_batch_size", "1 or more"),
            ("num_batch_threads", "1 or more"),
            ("max_in_flight_bytes", "1 or more"),
            ("gpu_memory_limit_mib", "1 or more"),
        ],
    )
    def test_not_positive(self, refusal, name, expected, value):
        """Zero and negative numbers are refused with what was expected."""
        assert refusal(f"--{name}={value}") == f"--{name} must be {expected}, got {value}"

    def test_more_threads_than_a_machine_has(self, refusal):
        """A typing error must not take all of the system's threads."""
        assert refusal("--num_batch_threads=1000000").startswith(
            "num_batch_threads must be 1024 or less, got 1000000"
        )

    def test_negative_retries(self, refusal):
        """No retries are fine, fewer are not."""
        message = refusal("--max_unit_retries=-1")
        assert message == "--max_unit_retries must be 0 or more, got -1"

    @pytest.mark.parametrize("value", ["0", "-2", "nan"])
    def test_timeout(self, refusal, value):
        """A time that never comes, or came already, is refused."""
        message = refusal(f"--batch_timeout_secs={value}")
        assert message == f"--batch_timeout_secs must be positive, got {float(value)}"

    def test_timeout_that_is_no_number(self, refusal):
        """Text that is no number is repeated with the flag."""
        message = refusal("--batch_timeout_secs=soon")
        assert message.startswith("argument --batch_timeout_secs: invalid float value: 'soon'")


class TestChoices:
    def test_if_exists(self, refusal):
        """`--if_exists` is refused with its three values."""
        message = refusal("--if_exists=maybe")
        assert message == "--if_exists must be one of error, overwrite, resume, got 'maybe'"

    def test_input_format(self, refusal):
        """`--input_format` is refused with its values."""
        message = refusal("--input_format=xml")
        assert message == ("--input_format must be one of parquet, tfrecord, csv, jsonl, got 'xml'")


class TestCommands:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            (
                "precomput",
                "did you mean 'precompute'? there are: precompute, evaluate, gate, promote, inspect, demo",
            ),
            (
                "inspct",
                "did you mean 'inspect'? there are: precompute, evaluate, gate, promote, inspect, demo",
            ),
            ("zzz", "there are: precompute, evaluate, gate, promote, inspect, demo"),
            ("--limit=3", "there are: precompute, evaluate, gate, promote, inspect, demo"),
        ],
    )
    def test_misspelled(self, refusal, name, expected):
        """A command that does not exist is refused with the nearest one and the list."""
        assert refusal(command=[name]) == f"unknown command {name!r}; {expected}"

    @pytest.mark.parametrize(
        ("command", "expected"),
        [
            (
                ["inspect", "--model_base_pat=m"],
                (
                    "unknown flag --model_base_pat=m; did you mean --model_base_path?"
                    " (see run_pipeline.py inspect --help)"
                ),
            ),
            (["inspect"], "--model_base_path is missing: the directory with the model's versions"),
            (
                ["demo", "--work_dir=d"],
                (
                    "unknown flag --work_dir=d; did you mean --workdir?"
                    " (see run_pipeline.py demo --help)"
                ),
            ),
        ],
    )
    def test_flags_of_other_commands(self, refusal, command, expected):
        """The other commands refuse as `precompute` does."""
        assert refusal(command=command) == expected

    def test_inspect_of_what_is_not_there(self, refusal, base_path, tmp_path):
        """`inspect` refuses missing models, versions, signatures and inputs with the same words."""
        model = f"--model_base_path={base_path}"
        missing = refusal(command=["inspect", f"--model_base_path={tmp_path}/m"])
        assert missing.startswith(f"--model_base_path={tmp_path}/m does not exist or is empty")
        assert "versions present: 1, 3" in refusal(command=["inspect", model, "--model_version=2"])
        signature = refusal(command=["inspect", model, "--signature_name=p"])
        assert "it has 'serving_default', 'wide'" in signature
        data = refusal(command=["inspect", model, f"--input={tmp_path}/*.parquet"])
        assert data == f"--input={tmp_path}/*.parquet matches no file with anything in it"

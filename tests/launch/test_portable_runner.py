from tests.jobs import read_output
from tests.launch.commands import run_command

_FLAGS = ("--runner=PortableRunner", "--job_endpoint=embed", "--environment_type=LOOPBACK")


def test_equals_a_local_run(job, local_output, tmp_path):
    """The job writes the same through a job service: staged, submitted, run over the worker API."""
    output = tmp_path / "out"
    exit_code, stdout, stderr = run_command((*job.args, f"--output={output}", *_FLAGS))
    assert exit_code == 0, stderr
    assert f"done: {job.table.num_rows:,} rows" in stdout
    assert (output / "_SUCCESS").is_file()
    order = ["model_version", "id"]
    assert read_output(output, order).equals(read_output(local_output, order))

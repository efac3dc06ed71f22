import base64
import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.pipeline_context import PipelineContext

from tests.jobs import read_output, values
from tests.launch import execute_staged
from tests.launch.commands import dataflow_args, run_command
from transforms.plan_files import read_plan

MAX_ELEMENT_BYTES = 1024

# Coders of numbers, bytes and structures of them: no row, batch or object fits through.
_PLAIN_CODERS = frozenset(
    {
        "beam:coder:bytes:v1",
        "beam:coder:varint:v1",
        "beam:coder:kv:v1",
        "beam:coder:iterable:v1",
        "beam:coder:global_window:v1",
    }
)

# What composites of Beam's put around our integers, by the step that they are in.
_CODERS_INSIDE_BEAM = {
    "SpreadUnits/ReshufflePerKey": {  # carries each element's timestamp and pane along with it
        "beam:coder:tuple:v1",
        "beam:coder:nullable:v1",
        "FastPrimitivesCoder",
        "PaneInfoCoder",
    },
    "CountUnits/KeyWithVoid": {"DeterministicFastPrimitivesCoderV2"},  # the key is None
    "CountUnits/CombinePerKey": {"DeterministicFastPrimitivesCoderV2"},  # likewise
    "CountUnits/UnKey": {"FastPrimitivesCoder"},  # a lambda without type hints: the count
    "CountUnits/DoOnce": {"FastPrimitivesCoder"},  # decodes the element b"" that stands for "once"
}
_PLAIN_TYPES = frozenset({"int", "bytes", "NoneType", "Timestamp", "PaneInfo"})


@pytest.fixture(scope="module", name="pipeline")
def _pipeline(template):
    content = (template.staging / "pipeline.pb").read_bytes()
    return beam_runner_api_pb2.Pipeline.FromString(content)


@pytest.fixture(scope="module", name="wheel")
def _wheel(template):
    (wheel,) = template.staging.glob("*.whl")
    return wheel


@pytest.fixture(scope="module", name="wheel_directory")
def _wheel_directory(wheel, tmp_path_factory):
    target = tmp_path_factory.mktemp("worker")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-index", "--no-deps", "--no-compile", f"--target={target}", str(wheel)]
    subprocess.run([*install, *offline], check=True)
    return target


@pytest.fixture(scope="module", name="execution")
def _execution(template, wheel_directory):
    """Executes the staged pipeline where only the staged wheel has our code."""
    site_packages = Path(beam.__file__).parent.parent
    arguments = [template.staging / "pipeline.pb", wheel_directory, site_packages]
    command = [sys.executable, "-I", "-S", execute_staged.__file__, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def _coders(coder_id: str, components) -> set[str]:
    """Returns the names of a coder and of all that it is made of: URNs, classes of Python's own."""
    coder = components.coders[coder_id]
    name = coder.spec.urn
    if name == "beam:coder:pickled_python:v1":
        name = type(PipelineContext(components).coders.get_by_id(coder_id)).__name__
    parts = [_coders(each, components) for each in coder.component_coder_ids]
    return {name}.union(*parts)


def _allowed_coders(pcollection_name: str) -> frozenset[str]:
    inside = [
        names
        for step, names in _CODERS_INSIDE_BEAM.items()
        if f"Precompute/{step}" in pcollection_name
    ]
    return _PLAIN_CODERS.union(*inside)


class TestCommand:
    def test_succeeds_and_says_where_the_template_is(self, job, template):
        """Rendering a template is a success that promises no results."""
        assert template.exit_code == 0
        assert template.stderr == ""
        assert f"template written to {template.job_file}" in template.stdout
        assert f"{job.num_units} units" in template.stdout

    def test_plans_the_job(self, template):
        """The template is of a job whose plan is written, with hundreds of files in one unit."""
        plan = read_plan(str(template.output))
        assert plan is not None
        assert [len(unit.ranges) for unit in plan.units] == [300, 1, 1, 1]
        assert [each.version for each in plan.models] == [1, 2, 3]

    def test_needs_a_runner_that_has_templates(self, job, tmp_path):
        """A local run would ignore the flag and run the job, so it is refused before planning."""
        flag = f"--template_location={tmp_path}/template.json"
        exit_code, _, stderr = run_command((*job.args, f"--output={tmp_path}/out", flag))
        assert exit_code == 2
        assert "--template_location needs --runner=DataflowRunner" in stderr
        assert not (tmp_path / "out").exists()

    def test_tells_when_the_template_cannot_be_written(self, job, tmp_path):
        """A failure after planning exits with 1, the cause, and the command that tries again."""
        args = dataflow_args(tmp_path)
        extra = "--extra_package=/nowhere/bulk_inference-0.zip"
        exit_code, _, stderr = run_command((*job.args, f"--output={tmp_path}/out", *args, extra))
        assert exit_code == 1
        assert "the template was not written" in stderr
        assert "--if_exists=resume" in stderr


class TestPackages:
    @pytest.mark.parametrize(
        ("flags", "staged"),
        [
            pytest.param(["helper-1.0.tar.gz"], {"helper-1.0.tar.gz", "ours"}, id="beside_ours"),
            pytest.param([""], set(), id="in_the_image"),
            pytest.param(["", "helper-1.0.tar.gz"], {"helper-1.0.tar.gz"}, id="only_theirs"),
        ],
    )
    def test_of_the_user(self, flags, staged, job, wheel, tmp_path):
        """The user's packages join ours; an empty flag says that the image has ours already."""
        (tmp_path / "helper-1.0.tar.gz").touch()
        (tmp_path / "staging").mkdir()
        packages = [f"--extra_package={tmp_path / name if name else ''}" for name in flags]
        args = (*job.args, f"--output={tmp_path}/out", *dataflow_args(tmp_path), *packages)
        exit_code, _, stderr = run_command(args)
        assert exit_code == 0, stderr
        names = {each.name for each in (tmp_path / "staging").iterdir()}
        found = {name for name in names if name.endswith((".whl", ".gz"))}
        assert found == {wheel.name if name == "ours" else name for name in staged}


class TestJobDescription:
    def test_names_what_was_staged(self, template, wheel):
        """Dataflow is told where pipeline and wheel lie."""
        environment = json.loads(template.job_file.read_text())["environment"]
        options = environment["sdkPipelineOptions"]["options"]
        assert options["pipelineUrl"] == str(template.staging / "pipeline.pb")
        (pool,) = environment["workerPools"]
        packages = {each["name"]: each["location"] for each in pool["packages"]}
        assert packages[wheel.name] == str(wheel)

    def test_one_process_per_machine(self, template):
        """Dataflow starts one process on each machine, so that a model is loaded once there."""
        environment = json.loads(template.job_file.read_text())["environment"]
        experiments = environment["sdkPipelineOptions"]["options"]["experiments"]
        assert "no_use_multiple_sdk_containers" in experiments
        assert "use_multiple_sdk_containers" not in experiments

    def test_workers_install_the_staged_wheel(self, pipeline, wheel):
        """The environment depends on the wheel, by the digest of the staged file."""
        (environment,) = pipeline.components.environments.values()
        digests = {}
        for dependency in environment.dependencies:
            file = beam_runner_api_pb2.ArtifactFilePayload.FromString(dependency.type_payload)
            digests[file.path] = file.sha256
        assert digests[str(wheel)] == hashlib.sha256(wheel.read_bytes()).hexdigest()

    def test_fits_into_a_template(self, template):
        """The description does not grow with the plan; Dataflow takes at most 10 MB."""
        assert template.job_file.stat().st_size < 100_000
        assert (template.staging / "pipeline.pb").stat().st_size < 100_000


class TestStageBoundaries:
    def test_coders_take_nothing_but_numbers(self, pipeline):
        """No PCollection has a coder through which a row, a batch or an object of ours would fit."""
        components = pipeline.components
        assert components.pcollections
        wrong = {}
        for pcollection in components.pcollections.values():
            found = _coders(pcollection.coder_id, components)
            if not found <= _allowed_coders(pcollection.unique_name):
                wrong[pcollection.unique_name] = found
        assert wrong == {}

    def test_windows_are_global(self, pipeline):
        """Windows, which travel with each element, are the one that takes no bytes."""
        strategies = pipeline.components.windowing_strategies.values()
        coders = [_coders(each.window_coder_id, pipeline.components) for each in strategies]
        assert set().union(*coders) == {"beam:coder:global_window:v1"}

    @pytest.mark.parametrize(
        "step", ["ListPendingUnits", "ProcessUnits", "CountUnits/InjectDefault"]
    )
    def test_our_own_elements_are_integers(self, step, pipeline):
        """What our own steps emit is coded as an integer."""
        (coder_id,) = {
            each.coder_id
            for each in pipeline.components.pcollections.values()
            if f"Precompute/{step}.None" in each.unique_name
        }
        assert _coders(coder_id, pipeline.components) == {"beam:coder:varint:v1"}

    def test_elements_are_small(self, job, execution):
        """Every element that crossed a boundary, in either direction, encodes to under a kilobyte."""
        elements = execution["elements"]
        assert {each["direction"] for each in elements} == {"in", "out"}
        assert len(elements) >= 2 * job.num_units
        assert max(each["size"] for each in elements) < MAX_ELEMENT_BYTES

    def test_elements_are_numbers(self, execution):
        """Every element that crossed a boundary consists of numbers, None and Beam's timestamps."""
        types = set().union(*(each["types"] for each in execution["elements"]))
        assert types <= _PLAIN_TYPES
        assert "int" in types


class TestWheel:
    def test_is_intact(self, wheel):
        """Every file of the wheel has the digest that its record says."""
        with zipfile.ZipFile(wheel) as archive:
            (record,) = [each for each in archive.namelist() if each.endswith(".dist-info/RECORD")]
            lines = archive.read(record).decode().splitlines()
            digests = dict(line.split(",")[:2] for line in lines)
            assert digests.keys() == set(archive.namelist())
            for name, digest in digests.items():
                if name != record:
                    actual = hashlib.sha256(archive.read(name)).digest()
                    encoded = base64.urlsafe_b64encode(actual).decode().rstrip("=")
                    assert digest == f"sha256={encoded}", name

    def test_has_our_packages_and_nothing_else(self, wheel):
        """The wheel brings exactly our packages: no tests, no benchmarks, no documents."""
        with zipfile.ZipFile(wheel) as archive:
            tops = {each.split("/")[0] for each in archive.namelist()}
        assert {each for each in tops if not each.endswith(".dist-info")} == set(
            execute_staged.OWN_PACKAGES
        )

    def test_brings_its_dependencies(self, wheel):
        """Beam's stock container lacks TensorFlow; the wheel's metadata asks for it."""
        with zipfile.ZipFile(wheel) as archive:
            (name,) = [each for each in archive.namelist() if each.endswith("/METADATA")]
            metadata = archive.read(name).decode()
        assert "\nRequires-Dist: tensorflow<" in metadata

    def test_works_alone(self, execution, wheel_directory):
        """The job ran with every module of ours imported from the installed wheel."""
        for name, place in execution["modules"].items():
            assert Path(place) == wheel_directory / name / "__init__.py"


@pytest.mark.usefixtures("execution")
class TestStagedPipeline:
    def test_output_equals_a_local_run(self, job, template, local_output):
        """Executing what Dataflow would get writes the same rows, keys and predictions."""
        staged, local = (
            read_output(each, ["model_version", "id"]) for each in (template.output, local_output)
        )
        assert staged.num_rows == 3 * job.table.num_rows
        assert staged.equals(local)

    def test_predictions_are_right(self, job, template):
        """Both would be equal if both were wrong."""
        table = read_output(template.output, ["model_version", "id"])
        x = values(job.table["x"])
        expected = np.concatenate([version * x for version in (1, 2, 3)])
        np.testing.assert_allclose(values(table["score"]), expected, rtol=1e-6)

    def test_manifest_equals_a_local_run(self, job, template, local_output):
        """The last stage ran, and counted the same."""
        assert (template.output / "_SUCCESS").is_file()
        staged, local = (_manifest(each) for each in (template.output, local_output))
        assert staged == local
        assert staged["rows"] == job.table.num_rows
        assert [each["rows"] for each in staged["models"]] == [job.table.num_rows] * 3

    def test_every_unit_has_a_receipt(self, job, template, local_output):
        """The same units were committed, with the same rows."""
        staged, local = (_unit_rows(each) for each in (template.output, local_output))
        assert staged == local
        assert len(staged) == job.num_units


def _manifest(output: Path) -> dict:
    manifest = json.loads((output / "_manifest.json").read_text())
    differing = (
        *("plan_id", "timings", "peak_rss_bytes", "batches", "batching", "lineage"),
        *("rows_per_sec", "stage_secs", "bottleneck", "model_loads"),
    )
    return {name: value for name, value in manifest.items() if name not in differing}


def _unit_rows(output: Path) -> dict[str, int]:
    receipts = sorted((output / "_units").glob("*.json"))
    return {each.name: json.loads(each.read_text())["rows_read"] for each in receipts}

"""What a runner's metrics say of a job."""

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.metrics import MetricsFilter

from pipelines.options import PrecomputeOptions
from tests.datasets import write_parquet
from tests.models import save_ragged
from transforms.execution import ExecutionOptions
from transforms.plan_files import write_plan
from transforms.planning import make_plan
from transforms.precompute import METRICS_NAMESPACE, PrecomputeUnits
from transforms.worker_core import worker_cores


@pytest.fixture(autouse=True)
def _fresh_cores():
    """Counters begin with the core, which is kept for a while after a job."""
    yield
    worker_cores.close_idle()


def test_counters_of_a_job(tmp_path):
    """Rows, units and batches are counted, and what padding and splitting cost, each once."""
    save_ragged(tmp_path / "ragged", 1)
    rows = [[1] * 12, [1] * 16, [1] * 20] * 10
    table = pa.table({"id": range(30), "ids": pa.array(rows, pa.list_(pa.int32()))})
    write_parquet(table, tmp_path / "in", [15, 15], 15)
    execution = ExecutionOptions(max_batch_size=5, num_batch_threads=1)
    options = PrecomputeOptions(
        model_base_path=str(tmp_path / "ragged"),
        input=(str(tmp_path / "in"),),
        output=str(tmp_path / "out"),
        key="id",
        signature_name="largest",
        pad_variable_length_inputs=True,
        unit_rows=15,
        execution=execution,
    )
    write_plan(make_plan(options.plan_request(), execution), options.output_path)

    pipeline = beam.Pipeline(runner="FnApiRunner")
    _ = pipeline | PrecomputeUnits(output=options.output_path, execution=execution)
    result = pipeline.run()
    result.wait_until_finish()

    found = result.metrics().query(MetricsFilter().with_namespace(METRICS_NAMESPACE))["counters"]
    counts = {each.key.metric.name: each.committed for each in found}
    assert (counts["rows"], counts["units"]) == (30, 2)
    assert counts["batches"] == 6
    assert counts["cells"] - counts["padding_cells"] == 10 * (12 + 16 + 20)
    assert counts["padding_cells"] >= 40
    assert "failed_rows" not in counts

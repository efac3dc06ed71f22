from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipelines.cli import main
from tests.datasets import write_parquet
from tests.models import save_linear

OUTPUT = "out"  # below the working directory
PLAN = Path(OUTPUT, "_plan/plan.json")


def _delete_plan(batch):
    PLAN.unlink(missing_ok=True)
    return batch


def _replace_plan(batch):
    if PLAN.exists():  # not while the job is planned
        PLAN.write_text("{}")
    return batch


@pytest.mark.parametrize(
    ("function", "what"), [(_delete_plan, "deleted"), (_replace_plan, "replaced")]
)
def test_a_job_whose_plan_is_gone_fails_and_cannot_be_resumed(
    tmp_path, monkeypatch, capsys, function, what
):
    """No signal has come, and the plan to go on with is another job's."""
    monkeypatch.chdir(tmp_path)
    save_linear(tmp_path / "m", 1, num_features=2)
    features = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(20, np.float32)), 2)
    write_parquet(pa.table({"id": range(10), "features": features}), tmp_path / "in", (10,), 10)
    args = ["--model_base_path=m", "--input=in", f"--output={OUTPUT}", "--key=id"]
    assert main(["precompute", *args, f"--postprocess={__name__}:{function.__name__}"]) == 1
    told = capsys.readouterr().err
    assert f"error: {tmp_path}/{OUTPUT} belongs to another job: its plan was {what}" in told
    assert "go on with" not in told

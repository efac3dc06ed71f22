"""The demo's evaluation: may version 2 or version 3 replace version 1?

On the rows that no version was trained on. Version 3 beats version 1 on average and fails on the
people whose visits were lost from its training data; the gate looks at each slice, and sees it.
"""

import shlex
from pathlib import Path

import pyarrow as pa

from pipelines import demo_data, evaluate
from pipelines.demo_models import FAULTY_SLICE
from pipelines.evaluate_options import EvaluateOptions
from pipelines.evaluation_outcome import EvaluationOutcome
from transforms.evaluation.evaluation_config import read_evaluation_config

_BASELINE = "1"
_CANDIDATES = ("2", "3")
_CONFIG = f"""\
# Who is looked at apart: by health (poor, fair, good), by chronic diseases, by insurance plan.
slices:
- {FAULTY_SLICE}
- hlthf
- hlthg
- {{columns: [disea], buckets: {{disea: [5, 10, 20]}}}}
- idp
- idp,hlthg

# Better on the whole, and on no slice worse by more than 0.1 nats.
gate:
  rules:
  - {{metric: auc, test: superior}}
  - {{metric: log_loss, test: superior}}
  - {{metric: log_loss, test: non_inferior, margin: {{absolute: 0.1}}, slices: all}}
"""


def write_held_out(table: pa.Table, directory: Path, seed: int) -> Path:
    """Writes the half of the rows that no version was trained on, and returns where."""
    _, held_out = demo_data.split(table, seed)
    demo_data.write_parquet(held_out, str(directory))
    return directory


def write_config(path: Path) -> Path:
    """Writes the slices and the gate, and returns where."""
    path.write_text(_CONFIG)
    return path


def evaluation_options(
    *, models: Path, held_out: Path, config: Path, output: Path
) -> EvaluateOptions:
    """Returns what compares versions 2 and 3 with version 1.

    Args:
        models: Directory of the model.
        held_out: Rows that no version was trained on.
        config: Slices and gate.
        output: Where to write to; an earlier evaluation there is replaced.
    """
    pattern = f"{held_out}/*.parquet"
    command = [
        *("run_pipeline.py", "evaluate", f"--model_base_path={models}"),
        f"--baseline={_BASELINE}",
        *(f"--candidate={each}" for each in _CANDIDATES),
        *(f"--input={pattern}", f"--label={demo_data.LABEL}", f"--example_key={demo_data.ID}"),
        *(f"--eval_config={config}", f"--output={output}", "--if_exists=overwrite"),
    ]
    given = {
        "baseline": _BASELINE,
        "candidates": _CANDIDATES,
        "label": demo_data.LABEL,
        "example_key": demo_data.ID,
    }
    return EvaluateOptions(
        output=str(output),
        if_exists="overwrite",
        config=read_evaluation_config(str(config)).override(given),
        models={"model_base_path": str(models), "input": (pattern,)},
        command_line=shlex.join(command),
    )


def run_evaluation(options: EvaluateOptions) -> EvaluationOutcome:
    """Runs it.

    Raises:
        JobFailedError: It failed; a gate that is not passed is no failure.
    """
    return evaluate.run(options)

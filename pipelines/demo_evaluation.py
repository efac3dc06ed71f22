"""The demo's evaluation: may version 2 or version 3 replace version 1?

On the rows that no version was trained on. Version 3 beats version 1 on average and fails on the
people whose visits were lost from its training data; the gate looks at each slice, and sees it.
"""

import shlex
from pathlib import Path

import pyarrow as pa

from pipelines import demo_data
from pipelines.demo_models import FAULTY_SLICE
from pipelines.evaluate_options import EvaluateOptions
from pipelines.evaluation_outcome import EvaluationOutcome
from transforms.evaluation.evaluation_config import read_evaluation_config
from transforms.evaluation.verdict import Status

_BASELINE = "1"
_CANDIDATES = ("2", "3")
_METRIC = "log_loss"
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
  - {{metric: {_METRIC}, test: superior}}
  - {{metric: {_METRIC}, test: non_inferior, margin: {{absolute: 0.1}}, slices: all}}
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


def conclusion(outcome: EvaluationOutcome) -> str:
    """Returns what there is to learn from the evaluation, in two lines."""
    said = [f"   exit code {outcome.exit_code}"]
    for judged in outcome.verdict.candidates if outcome.verdict else ():
        failed = [each.slice_name for each in judged.outcomes if each.effect is Status.FAIL]
        if failed:
            said.append(
                f"   version {judged.version} fails on {', '.join(failed)}{_overall(outcome, judged.version)}"
            )
    return "\n".join(said)


def _overall(outcome: EvaluationOutcome, version: int) -> str:
    """Returns how a version does on all rows, where that is better than the baseline."""
    values = [
        found.estimate.value
        for each in (version, outcome.results.baseline)
        if (found := outcome.results.find(_METRIC, each)) is not None
    ]
    if len(values) < 2 or values[0] >= values[1]:
        return ""
    return f", although it is better on all rows ({_METRIC} {values[0]:.4f} instead of {values[1]:.4f})"

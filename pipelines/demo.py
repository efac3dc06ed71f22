"""`demo`: real data, three trained versions, two of them precomputed over both formats and judged."""

import shlex
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from pipelines import demo_data, demo_evaluation, demo_models, evaluate, precompute
from pipelines.console import say
from pipelines.options import PrecomputeOptions
from servable_core.errors import DataLossError
from servable_core.servables.saved_model.tensorflow_runtime import import_tensorflow

_SEED = 0
_VERSIONS = "2,3"
_ABSOLUTE_TOLERANCE = 1e-6


def run_demo(workdir: str) -> None:
    """Runs the whole demo below `workdir`, replacing what an earlier one left there.

    Raises:
        FailedPreconditionError: The package with the data is not installed.
        DataLossError: The two formats gave different predictions.
    """
    root = Path(workdir)
    import_tensorflow()  # first, because it is loud when others import it
    table = demo_data.load_table()
    parquet, tfrecord, models = (root / name for name in ("parquet", "tfrecord", "models/visits"))
    say(f"1. {table.num_rows:,} rows of a health-insurance experiment: will a person see a doctor?")
    demo_data.write_parquet(table, str(parquet))
    demo_data.write_tfrecord(table, str(tfrecord))
    say(f"   {parquet}/*.parquet and the same rows in {tfrecord}/*.tfrecord")
    _train(table, models)
    outputs = [
        _precompute(3, models, f"{parquet}/*.parquet", root / "predictions"),
        _precompute(4, models, f"{tfrecord}/*.tfrecord", root / "predictions_from_tfrecord"),
    ]
    first, second = (_read_sorted(each) for each in outputs)
    _check_equal(first, second)
    say(f"\n5. both formats gave the same {first.num_rows:,} predictions, for example:")
    say(_side_by_side(first).slice(0, 6).to_pandas().to_string(index=False))
    _evaluate(table, root, models)
    say(_next_steps(root, models, parquet))


def _train(table: pa.Table, models: Path) -> None:
    say("\n2. training three versions (1: two columns; 2: all; 3: all, with faulty labels)")
    train, _ = demo_data.split(table, _SEED)
    for path in demo_models.train_versions(train, str(models), _SEED):
        say(f"   {path}")


def _precompute(step: int, models: Path, pattern: str, output: Path) -> Path:
    command = [
        *("run_pipeline.py", "precompute"),
        f"--model_base_path={models}",
        f"--model_version={_VERSIONS}",
        f"--input={pattern}",
        f"--key={demo_data.ID}",
        f"--passthrough={demo_data.LABEL}",
        f"--output={output}",
    ]
    options = PrecomputeOptions(
        model_base_path=str(models),
        model_version=_VERSIONS,
        input=(pattern,),
        key=demo_data.ID,
        passthrough=(demo_data.LABEL,),
        output=str(output),
        if_exists="overwrite",
        command_line=shlex.join(command),
    )
    say(f"\n{step}. python {options.command_line}")
    say(precompute.summary(precompute.run(options)))
    return output


def _evaluate(table: pa.Table, root: Path, models: Path) -> None:
    options = demo_evaluation.evaluation_options(
        models=models,
        held_out=demo_evaluation.write_held_out(table, root / "held_out", _SEED),
        config=demo_evaluation.write_config(root / "gate.yaml"),
        output=root / "evaluation",
    )
    say("\n6. may version 2 or 3 replace version 1? asked of the rows that none was trained on")
    say(f"   python {options.command_line}")
    outcome = evaluate.run(options)
    say("\n".join(outcome.lines))
    say(demo_evaluation.conclusion(outcome))


def _read_sorted(output: Path) -> pa.Table:
    partitioning = ds.partitioning(
        pa.schema([("model_name", pa.string()), ("model_version", pa.int64())]), flavor="hive"
    )
    table = ds.dataset(str(output), partitioning=partitioning).to_table()
    return table.sort_by([("model_version", "ascending"), (demo_data.ID, "ascending")])


def _check_equal(first: pa.Table, second: pa.Table) -> None:
    columns = ["model_version", demo_data.ID]
    if not first.select(columns).equals(second.select(columns)):
        raise DataLossError("the two formats gave different rows")
    difference = pc.abs(pc.subtract(first[demo_models.OUTPUT], second[demo_models.OUTPUT]))
    if pc.max(difference).as_py() > _ABSOLUTE_TOLERANCE:
        raise DataLossError("the two formats gave different predictions")


def _side_by_side(predictions: pa.Table) -> pa.Table:
    """Returns one row per person, with a column of predictions for each version."""
    versions = [
        predictions.filter(pc.equal(predictions["model_version"], number)) for number in (2, 3)
    ]
    columns = {name: versions[0][name] for name in (demo_data.ID, demo_data.LABEL)}
    for number, rows in zip((2, 3), versions, strict=True):
        columns[f"version {number}"] = rows[demo_models.OUTPUT]
    return pa.table(columns)


def _next_steps(root: Path, models: Path, parquet: Path) -> str:
    return f"""
next:
  python run_pipeline.py inspect --model_base_path={models} --input='{parquet}/*.parquet'
  python run_pipeline.py precompute --model_base_path={models} --model_version=all --input={parquet} --key=id --output={root}/all_versions
  python run_pipeline.py gate --states={root}/evaluation --eval_config={root}/gate.yaml
  python run_pipeline.py --help"""

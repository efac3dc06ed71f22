"""Plans an evaluation of saved predictions: reads footers, slice columns and the first rows."""

from collections.abc import Sequence

from pipelines.evaluate_options import EvaluateOptions
from pipelines.evaluated_versions import compared_versions
from pipelines.measured_choice import choose_output, decide_measured, slice_catalog
from pipelines.prepared_evaluation import (
    FIRST_ROWS,
    Prepared,
    evaluation_facts,
    has_all_outputs,
    no_rows,
)
from servable_core.errors import InvalidArgumentError
from transforms.binding import closest
from transforms.evaluation.evaluation_config import EvaluationConfig
from transforms.evaluation.predicted_rows import PredictedRows
from transforms.evaluation.saved_predictions import (
    SavedPredictions,
    plan_saved,
    read_saved,
    scan_saved,
)
from transforms.evaluation.unit_source import SavedUnits


def prepare_saved(options: EvaluateOptions) -> Prepared:
    """Plans an evaluation of saved predictions.

    Raises:
        ServableCoreError: Anything that can be known to be wrong before the first unit.
    """
    config = options.config
    versions = compared_versions(config)
    saved = plan_saved(
        options.predictions,
        model_name=options.models.get("model_name"),
        baseline=versions.baseline,
        candidates=versions.candidates,
        example_key=config.example_key,
    )
    _check_saved_columns(config, saved)
    outputs = saved.output_names(config.columns)
    not_outputs = tuple(name for name in saved.baseline.schema.names if name not in outputs)
    names = tuple(str(each.version) for each in saved.versions)
    first = _first_saved_rows(saved, config.columns, outputs)
    choice = choose_output(config, first, names, not_outputs)
    catalog = slice_catalog(
        config, len(saved.units), lambda index: scan_saved(index, saved, config.slices)
    )
    measured = decide_measured(
        config,
        model_name=saved.model_name,
        versions=tuple(each.version for each in saved.versions),
        num_saved_rows=tuple(each.num_rows for each in saved.versions),
        choice=choice,
        first=first,
        catalog=catalog,
        key=saved.key,
    )
    wanted = [each for each in (choice.prediction, choice.classes) if each is not None]
    files = [(each.path, each.size_bytes, 0.0) for each in saved.baseline.parts]
    return Prepared(
        measured=measured,
        source=SavedUnits(measured=measured, saved=saved, outputs=tuple(wanted)),
        facts=evaluation_facts(
            options,
            models={each.version: each.fingerprint for each in saved.versions if each.fingerprint},
            files=files,
        ),
        num_rows=saved.baseline.num_rows,
        size_bytes=sum(each.size_bytes for each in saved.baseline.parts),
    )


def _check_saved_columns(config: EvaluationConfig, saved: SavedPredictions) -> None:
    names = saved.baseline.schema.names
    for column in config.columns:
        if column not in names:
            raise InvalidArgumentError(
                f"the predictions of version {saved.baseline.version} have no column {column!r}, which the evaluation names; precompute them with --passthrough={column}{closest(column, names)}"
            )


def _first_saved_rows(
    saved: SavedPredictions, columns: Sequence[str], outputs: Sequence[str]
) -> PredictedRows:
    for unit in saved.units:
        for rows in read_saved(unit, saved, columns, outputs):
            if has_all_outputs(rows):
                return _sliced(rows, FIRST_ROWS)
    raise no_rows()


def _sliced(rows: PredictedRows, num_rows: int) -> PredictedRows:
    return PredictedRows(
        columns=rows.columns.slice(0, num_rows),
        outputs=tuple(None if each is None else each.slice(0, num_rows) for each in rows.outputs),
    )

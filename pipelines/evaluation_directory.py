"""The output directory of an evaluation: whether it may be written, and what is cleared before."""

from pathlib import Path

from pipelines.evaluate_options import SCRATCH_DIRECTORY
from pipelines.output_directory import check_no_file
from servable_core.errors import AlreadyExistsError, FailedPreconditionError
from transforms.dead_letters import DEAD_LETTERS_DIRECTORY
from transforms.evaluation.metric_tables import METRICS_FILE, METRICS_TABLE
from transforms.evaluation.state_files import STATES_DIRECTORY, has_states
from transforms.evaluation.verdict_files import BLESSED, NOT_BLESSED, VERDICT_FILE
from transforms.storage import (
    TEMPORARY_DIRECTORY,
    delete_file,
    delete_tree,
    discard_tree,
    file_system_for,
    is_local,
)

_FILES = (
    METRICS_FILE,
    METRICS_TABLE,
    VERDICT_FILE,
    BLESSED,
    NOT_BLESSED,
    "report.html",
    "report.md",
)
_DIRECTORIES = (
    STATES_DIRECTORY,
    DEAD_LETTERS_DIRECTORY,
    SCRATCH_DIRECTORY,
    TEMPORARY_DIRECTORY,
)


def check_evaluation_directory(output: str, if_exists: str) -> None:
    """Checks the directory against `--if_exists`; changes nothing.

    Raises:
        AlreadyExistsError: It holds an evaluation, and `if_exists` is "error".
        FailedPreconditionError: It holds what no evaluation has written.
        InvalidArgumentError: It is a file, or below one.
    """
    check_no_file(output)
    names = _entries(output)
    strange = [each for each in names if each not in (*_FILES, *_DIRECTORIES)]
    if strange:
        raise FailedPreconditionError(
            f"--output={output} holds what no evaluation has written ({', '.join(strange[:3])}); choose another directory or empty it"
        )
    if if_exists == "error" and (has_states(output) or set(names) & set(_FILES)):
        raise AlreadyExistsError(
            f"--output={output} holds an evaluation; replace it with --if_exists=overwrite, or choose another directory"
        )


def clear_evaluation(output: str) -> None:
    """Deletes an earlier evaluation, its verdict first; the lock stays held.

    Raises:
        FailedPreconditionError: Something cannot be deleted.
    """
    for name in (BLESSED, NOT_BLESSED, VERDICT_FILE):
        delete_file(f"{output}/{name}")
    for name in (STATES_DIRECTORY, DEAD_LETTERS_DIRECTORY):
        delete_tree(f"{output}/{name}")
    for name in _FILES:
        delete_file(f"{output}/{name}")


def clear_evaluation_scratch(output: str) -> None:
    """Deletes what only workers needed."""
    for name in (SCRATCH_DIRECTORY, TEMPORARY_DIRECTORY):
        discard_tree(f"{output}/{name}")


def _entries(output: str) -> list[str]:
    if is_local(output):
        path = Path(output)
        return sorted(each.name for each in path.iterdir()) if path.is_dir() else []
    prefix = output.rstrip("/") + "/"
    paths = [each.path for each in file_system_for(output).list_files(output)]
    return sorted({path.removeprefix(prefix).split("/")[0] for path in paths})

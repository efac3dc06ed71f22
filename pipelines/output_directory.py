"""The state of an output directory: whether it may be written, and what is cleared before."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from pipelines.output_lock import LOCK_FILE
from pipelines.remote_lock import CLAIM_NAME
from servable_core.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    InvalidArgumentError,
)
from transforms.dead_letters import DEAD_LETTERS_DIRECTORY
from transforms.failures import ERRORS_DIRECTORY
from transforms.finalize import MANIFEST_FILE, SUCCESS_FILE, version_directories
from transforms.local_glob import glob_expression
from transforms.plan import Plan
from transforms.plan_files import PLAN_DIRECTORY, PLAN_FILE, read_plan
from transforms.receipts import UNITS_DIRECTORY
from transforms.storage import (
    TEMPORARY_DIRECTORY,
    TEMPORARY_NAME,
    absolute_path,
    delete_file,
    delete_tree,
    discard_tree,
    file_system_for,
    has_glob_signs,
    is_local,
    read_bytes,
)

_PLAN_TABLES = ("inputs.parquet", "units.parquet")
_LEFT_BY_PLANNING = {  # what a job that was killed before it had a plan leaves, by directory
    PLAN_DIRECTORY: re.compile(
        "|".join([*map(re.escape, (LOCK_FILE, *_PLAN_TABLES)), CLAIM_NAME.pattern])
    ),
    TEMPORARY_DIRECTORY: TEMPORARY_NAME,
}


def is_complete(output: str) -> bool:
    """Whether the job that writes to `output` is done."""
    return read_bytes(f"{output}/{SUCCESS_FILE}") is not None


def check_apart(output: str, inputs: Sequence[str], model_base_path: str | None) -> None:
    """Checks by their names that what is read and what is written lie apart.

    Raises:
        InvalidArgumentError: One lies in the other, or the output is a file, or below one.
    """
    check_no_file(output)
    for pattern in filter(None, inputs):
        _check_not_in_output("--input", pattern, output)
        if _lies_in(output, pattern):
            raise InvalidArgumentError(
                f"--input and --output overlap: --output={output} lies in the directory --input={pattern}, so a later job would read these results as rows; choose an output directory elsewhere, or give --input as a glob that leaves it out"
            )
    if model_base_path:
        _check_not_in_output("--model_base_path", model_base_path, output)


def check_plan_apart(output: str, plan: Plan, inputs: Sequence[str]) -> None:
    """Checks the files that globs and links led to, as `check_apart` does their names.

    Raises:
        InvalidArgumentError: One lies in the other, or a glob of `inputs` matches the output, too.
    """
    for place in {_place_of(each.path) for each in plan.inputs}:
        _check_not_in_output("--input", place, output)
    for model in plan.models:
        _check_not_in_output("--model_base_path", model.path, output)
        if _lies_in(output, model.path):
            raise InvalidArgumentError(
                f"--model_base_path and --output overlap: --output={output} lies in the model version {model.path}, which must stay as it is; choose an output directory elsewhere"
            )
    for pattern in inputs:
        _check_glob_leaves_out(pattern, output, plan)


def _place_of(path: str) -> str:
    """Returns what tells where a file lies: its directory, of which there are few, unless a link."""
    is_link = is_local(path) and Path(path).is_symlink()
    return path if is_link else path.rpartition("/")[0]


def _check_glob_leaves_out(pattern: str, output: str, plan: Plan) -> None:
    part = f"{output}/{version_directories(plan)[0]}/part.parquet"
    if has_glob_signs(pattern) and glob_expression(absolute_path(pattern)).fullmatch(part):
        raise InvalidArgumentError(
            f"--input and --output overlap: the glob --input={pattern} matches what would be written to --output={output}, so a later job would read these results as rows; choose an output directory elsewhere, or a glob that leaves it out"
        )


def _check_not_in_output(flag: str, path: str, output: str) -> None:
    if _lies_in(path, output):
        raise InvalidArgumentError(
            f"{flag} and --output overlap: {path} lies in --output={output}, where jobs delete and write; choose an output directory elsewhere"
        )


def _lies_in(path: str, directory: str) -> bool:
    """Whether `path` is `directory` or below it, by whatever links."""
    inner, outer = (_real_path(absolute_path(each)) for each in (path, directory))
    return f"{inner}/".startswith(f"{outer.rstrip('/')}/")


def _real_path(path: str) -> str:
    return os.path.realpath(path) if is_local(path) else path


def check_usable(output: str, if_exists: str) -> Plan | None:
    """Checks the directory against `--if_exists` and returns the plan to resume, if any.

    Changes nothing.

    Raises:
        AlreadyExistsError: It holds a job, and `if_exists` is "error".
        FailedPreconditionError: It holds something that is no job of ours.
        InvalidArgumentError: It is a file, or below one.
    """
    check_no_file(output)
    plan = _readable_plan(output, if_exists)
    if plan is None:
        _check_new(output)
        return None
    if if_exists == "error":
        state = "a finished job" if is_complete(output) else "an unfinished job"
        raise AlreadyExistsError(
            f"--output={output} holds {state}; continue it with --if_exists=resume, replace it with --if_exists=overwrite, or choose another directory"
        )
    if if_exists == "overwrite":
        _check_nothing_beside(output, plan)
        return None
    return plan


def check_no_file(output: str) -> None:
    """Checks that a directory of that name may be there.

    Raises:
        InvalidArgumentError: It is a file, or below one.
    """
    if not is_local(output):
        return
    path = Path(output)
    found = next((each for each in (path, *path.parents) if each.exists()), None)
    if found is not None and not found.is_dir():
        what = "is a file" if found == path else f"lies below {found}, which is a file"
        raise InvalidArgumentError(f"--output={output} {what}; expected a directory, new or empty")


def _readable_plan(output: str, if_exists: str) -> Plan | None:
    try:
        return read_plan(output)
    except FailedPreconditionError as error:
        if if_exists != "overwrite":
            raise
        raise FailedPreconditionError(
            f"--output={output} holds a plan in {PLAN_FILE} that this program cannot read, so nothing tells what a job wrote there and may be deleted; delete the directory yourself, or choose another one"
        ) from error


def _check_new(output: str) -> None:
    """Checks that a directory without a plan has nothing in it that anybody could miss."""
    found = [name for name in _entries(output) if not _is_left_by_planning(output, name)]
    if found:
        found.sort(key=lambda name: (name.startswith("_"), name))  # the telling ones first
        raise FailedPreconditionError(
            f"--output={output} is not empty and holds no plan of an earlier job (it has {', '.join(found[:3])}); choose another directory or empty it"
        )


def _is_left_by_planning(output: str, name: str) -> bool:
    expected = _LEFT_BY_PLANNING.get(name)
    path = f"{output}/{name}"
    if expected is None or not _is_real_directory(path):
        return False
    return all(expected.fullmatch(each) for each in _entries(path))


def _check_nothing_beside(output: str, plan: Plan) -> None:
    """Checks that nothing would stay that readers of the new output took for part of it."""
    versions = version_directories(plan)
    models = sorted({each.partition("/")[0] for each in versions})
    below = [f"{model}/{each}" for model in models for each in _entries(f"{output}/{model}")]
    found = sorted(
        path
        for path in [*_entries(output), *below]
        if not path.rpartition("/")[2].startswith(("_", "."))
        and not (path in {*models, *versions} and _is_real_directory(f"{output}/{path}"))
    )
    if found:
        raise FailedPreconditionError(
            f"--output={output} holds, beside an earlier job's output, what that job did not write ({', '.join(found[:3])}) and readers would take for part of the new one; move it away, or choose another directory"
        )


def _is_real_directory(path: str) -> bool:
    return not is_local(path) or (Path(path).is_dir() and not Path(path).is_symlink())


def _entries(directory: str) -> list[str]:
    """Returns the names at the top of `directory`."""
    if is_local(directory):
        path = Path(directory)
        return [each.name for each in path.iterdir()] if path.is_dir() else []
    prefix = directory.rstrip("/") + "/"
    paths = [each.path for each in file_system_for(directory).list_files(directory)]
    return sorted({path.removeprefix(prefix).split("/")[0] for path in paths})


def clear(output: str) -> None:
    """Deletes what the job whose plan is in `output` wrote, and nothing else; the lock stays held.

    `_SUCCESS` goes first and the plan last, so a deletion that is cut short leaves an unfinished job,
    not one that seems done, nor data that nobody knows.

    Raises:
        FailedPreconditionError: Something cannot be deleted.
    """
    plan = read_plan(output)
    if plan is None:
        return
    declare_unfinished(output)
    delete_tree(f"{output}/{UNITS_DIRECTORY}")
    _delete_parts(output, version_directories(plan))
    delete_tree(f"{output}/{DEAD_LETTERS_DIRECTORY}")
    clear_scratch(output)
    for name in (PLAN_FILE, *(f"{PLAN_DIRECTORY}/{each}" for each in _PLAN_TABLES)):
        delete_file(f"{output}/{name}")


def _delete_parts(output: str, directories: Sequence[str]) -> None:
    for each in directories:
        delete_tree(f"{output}/{each}")
    for model in {f"{output}/{each.partition('/')[0]}" for each in directories}:
        if not _entries(model):
            delete_tree(model)


def declare_unfinished(output: str) -> None:
    """Deletes the files that say that the job in `output` is done."""
    for name in (SUCCESS_FILE, MANIFEST_FILE):
        delete_file(f"{output}/{name}")


def clear_scratch(output: str) -> None:
    """Deletes what a killed run left half-written, and its error reports."""
    discard_tree(f"{output}/{TEMPORARY_DIRECTORY}")
    delete_tree(f"{output}/{ERRORS_DIRECTORY}")

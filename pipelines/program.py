"""How the program was started, to tell how it is started again."""

import os
import shutil
from collections.abc import Sequence

DOCUMENTED_PROGRAM = ("python", "run_pipeline.py")


def program_words(started_as: Sequence[str], args: Sequence[str]) -> tuple[str, ...]:
    """Returns the words that come before the program's own arguments on the command line.

    Args:
        started_as: The whole command of this process, as `sys.orig_argv` has it.
        args: The program's arguments. If they are not the end of that command, as where the program
            is part of another one, the documented words are returned.
    """
    num_words = len(started_as) - len(args)
    words = tuple(started_as[:num_words])
    if num_words < 2 or list(started_as[num_words:]) != list(args) or "-c" in words:
        return DOCUMENTED_PROGRAM
    if len(words) == 2 and _starts_itself(*words):
        script = words[1]
        name = os.path.basename(script)  # noqa: PTH119 - of a word
        return (name if shutil.which(name) == script else script,)
    return words


def _starts_itself(interpreter: str, script: str) -> bool:
    """Whether the script alone is as good a command: some file systems call every file executable."""
    if not (os.path.dirname(script) and os.access(script, os.X_OK)):  # noqa: PTH120 - of a word
        return False
    with open(script, "rb") as file:  # noqa: PTH123 - of a word
        return file.readline().rstrip() == b"#!" + os.fsencode(interpreter)

"""Runs cases one after another, in a process that may be lost.

python -m tests.fuzz.worker MODEL SCRATCH CORPUS FIRST END

A line of JSON before and after each case, so that whoever reads them knows which one ends the process.
"""

import faulthandler
import json
import resource
import sys
import traceback
from pathlib import Path

_MAX_DATA_BYTES = 6 << 30  # more than any good file here needs, TensorFlow included


def main(model: str, scratch: str, corpus: str, first: str, end: str) -> None:
    """Runs cases [first, end) of a corpus."""
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_DATA, (_MAX_DATA_BYTES, _MAX_DATA_BYTES))
    from tests.fuzz.cases import DataCases
    from tests.fuzz.model_cases import ModelCases

    cases = (ModelCases if corpus == "models" else DataCases)(model, Path(scratch))
    for number in range(int(first), int(end)):
        _tell(corpus=corpus, case=number)
        try:
            outcomes = list(cases.run(corpus, number))
        except BaseException:  # noqa: BLE001 - told
            _tell(corpus=corpus, case=number, fault=traceback.format_exc())
        else:
            _tell(corpus=corpus, case=number, outcomes=outcomes)
    cases.close()


def _tell(**facts) -> None:
    sys.__stdout__.write(json.dumps(facts) + "\n")
    sys.__stdout__.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])

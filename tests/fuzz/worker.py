"""Runs cases one after another, in a process that may be lost.

python -m tests.fuzz.worker MODEL SCRATCH '[["parquet", 0], ["models", 7]]'

A line of JSON after each case, so that whoever reads them knows which one ends the process.
"""

import faulthandler
import json
import resource
import sys
import time
import traceback
from pathlib import Path

_MAX_DATA_BYTES = 6 << 30  # more than any good file here needs, TensorFlow included
_MAX_SECS = 40.0  # of CPU time for a case, TensorFlow's start and the model's included


def main(model: str, scratch: str, cases: str) -> None:
    """Runs cases, each a corpus and a number."""
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_DATA, (_MAX_DATA_BYTES, _MAX_DATA_BYTES))
    from tests.fuzz.cases import DataCases
    from tests.fuzz.model_cases import ModelCases

    data, models = DataCases(model, Path(scratch)), ModelCases(model, Path(scratch))
    for corpus, number in json.loads(cases):
        started_secs = time.process_time()
        try:
            outcomes = list((models if corpus == "models" else data).run(corpus, number))
        except BaseException:  # noqa: BLE001 - told
            _tell(fault=traceback.format_exc())
        else:
            _check_time(time.process_time() - started_secs, outcomes)
    data.close()


def _check_time(secs: float, outcomes: list[str]) -> None:
    if secs > _MAX_SECS:
        _tell(fault=f"it took {secs:.0f} seconds of CPU time")
    else:
        _tell(outcomes=outcomes)


def _tell(**facts) -> None:
    sys.__stdout__.write(json.dumps(facts) + "\n")
    sys.__stdout__.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])

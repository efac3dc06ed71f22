"""States merged by Beam: the same bytes whatever it combines first, and with what."""

import contextlib
import pickle
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that

from servable_core.errors import AbortedError
from tests.transforms.metrics.evaluated import batch_of, two_models
from transforms.evaluate import MergeStates, _MeasureUnitFn
from transforms.evaluation.evaluation_setup import EvaluationSetup
from transforms.evaluation.spilled_states import SpilledStates, spill
from transforms.job_state import start_job_state
from transforms.metrics import Task, create_evaluation

_ROWS, _PARTS = 900, 12
_SETUP = EvaluationSetup(model_name="m", versions=(1, 2), task=Task.BINARY)


@pytest.fixture(scope="module", name="parts")
def _parts():
    rng = np.random.default_rng(3)
    labels, scores = two_models(rng, _ROWS)
    slices = rng.integers(1, 9, (_ROWS, 1))
    evaluation = create_evaluation(_SETUP.options())
    return [
        evaluation.update(batch_of(scores[:, rows], labels[rows], slices=slices[rows], keys=rows))
        for rows in np.array_split(np.arange(_ROWS), _PARTS)
    ]


@pytest.fixture(name="places")
def _places(parts, tmp_path):
    return [spill(each, str(tmp_path)) for each in parts]


def _tables(place):
    states = SpilledStates(create_evaluation(_SETUP.options()), [place])
    return {name: states[name].to_table() for name in states}


def _check(place, parts):
    evaluation = create_evaluation(_SETUP.options())
    expected = evaluation.to_tables(evaluation.merge(parts))
    found = _tables(place)
    assert found.keys() == expected.keys()
    differing = [
        name
        for name, table in expected.items()
        if not found[name].equals(table, check_metadata=True)
    ]
    assert not differing


def _num_sets(scratch):
    return len(list((Path(scratch) / "spilled_states").iterdir()))


@pytest.mark.parametrize("max_waiting_places", [1, 2, 32])
@pytest.mark.parametrize("as_iterable", [list, tuple, iter], ids=["list", "tuple", "iterator"])
def test_accumulators_are_merged_from_any_iterable(
    parts, places, tmp_path, max_waiting_places, as_iterable
):
    combine = MergeStates(_SETUP, str(tmp_path), max_waiting_places=max_waiting_places)
    accumulators = [combine.create_accumulator()]  # of a bundle without rows
    for some in (places[:1], places[1:6], places[6:]):
        accumulator = combine.create_accumulator()
        for each in some:
            accumulator = combine.add_input(accumulator, each)
            assert len(accumulator) <= max_waiting_places
        accumulators.append(pickle.loads(pickle.dumps(accumulator)))
    first = combine.merge_accumulators(as_iterable(accumulators[:3]))
    merged = combine.merge_accumulators(as_iterable([accumulators[3], first]))
    _check(combine.extract_output(merged), parts)


def test_what_was_merged_stays_for_a_bundle_that_is_tried_again(parts, places, tmp_path):
    combine = MergeStates(_SETUP, str(tmp_path), max_waiting_places=2)
    for _ in range(2):
        _check(combine.extract_output(combine.merge_accumulators([tuple(places)])), parts)


def test_one_place_is_not_copied(places, tmp_path):
    combine = MergeStates(_SETUP, str(tmp_path))
    assert combine.extract_output(combine.merge_accumulators([(), (places[0],)])) == places[0]
    assert _num_sets(tmp_path) == _PARTS


def test_no_rows_have_no_place(tmp_path):
    combine = MergeStates(_SETUP, str(tmp_path))
    assert combine.merge_accumulators([]) == ()
    assert combine.extract_output(combine.merge_accumulators(iter([(), ()]))) is None


@pytest.mark.parametrize("fanout", [None, 3], ids=["at once", "with fan-out"])
def test_many_bundles_of_a_runner(parts, places, tmp_path, fanout):
    """Each place comes in a bundle of its own, on one of several threads."""
    combined = beam.CombineGlobally(MergeStates(_SETUP, str(tmp_path), max_waiting_places=3))
    combined = combined if fanout is None else combined.with_fanout(fanout)

    def check(found):
        (place,) = found
        _check(place, parts)

    options = PipelineOptions(["--direct_num_workers=4", "--direct_running_mode=multi_threading"])
    with beam.Pipeline(runner=FnApiRunner(), options=options) as pipeline:
        merged = pipeline | beam.Create(places, reshuffle=True) | beam.Reshuffle() | combined
        assert_that(merged, check)


class _Unit:
    """A source of one unit, whose states are given."""

    def __init__(self, states):
        self._states = states

    num_units = 1

    def opened(self, _state):
        return contextlib.nullcontext(lambda _index: self._states)


def test_a_bundle_of_a_stopped_job_writes_nothing(parts, tmp_path):
    """The launcher has seen it idle, between its last unit and its end, and clears the directory."""
    state = start_job_state(str(tmp_path))
    bundle = _MeasureUnitFn(
        source=_Unit(parts[0]),
        measured=_SETUP,
        scratch=str(tmp_path),
        max_unit_retries=0,
        stops_siblings=False,
    )
    bundle.setup()
    bundle.start_bundle()
    bundle.process(0)
    state.abort.set("SIGINT")
    with pytest.raises(AbortedError, match="SIGINT"):
        list(bundle.finish_bundle())
    assert not list(tmp_path.iterdir())

from pipelines.report.content import COMMAND_LINE
from pipelines.report.lineage_facts import lineage_facts
from transforms.evaluation.evaluation_setup import EvaluationSetup
from transforms.metrics import Task

_FACTS = {
    "config_sha256": "c" * 64,
    "data_fingerprint": "d" * 64,
    "data_files": 4,
    "data_first_file": "data/part-0.parquet",
    "models": {"6": "a" * 64, "7": "b" * 64},
    "command_line": "run_pipeline.py evaluate --baseline=6",
}


def _setup(**fields):
    return EvaluationSetup(model_name="ranker", versions=(6, 7), task=Task.BINARY, **fields)


def test_facts_are_told_in_order():
    found = lineage_facts(_FACTS, _setup(is_weighted=True))
    packages = found.pop("packages")
    assert list(found.items()) == [
        ("ranker, version 6 (baseline)", f"fingerprint {'a' * 16}"),
        ("ranker, version 7 (candidate)", f"fingerprint {'b' * 16}"),
        ("data", f"4 files, the first data/part-0.parquet; fingerprint {'d' * 16}"),
        ("configuration", f"sha256 {'c' * 16}"),
        ("task", "binary, weighted rows"),
        (COMMAND_LINE, "run_pipeline.py evaluate --baseline=6"),
    ]
    assert packages.startswith("python 3.")


def test_the_noise_floor_is_told_where_it_was_measured():
    floor = {"rows": 20_000, "max_difference": 1.2e-7, "flip_rate": 0.0, "batch_sizes": [256, 61]}
    found = lineage_facts({**_FACTS, "noise_floor": floor}, _setup())
    assert found["A/A noise floor"] == (
        "rows 20,000, max difference 1.2e-07, flip rate 0, batch sizes 256 and 61"
    )


def test_saved_predictions_need_no_models():
    found = lineage_facts({**_FACTS, "models": {}}, _setup())
    assert found["ranker, version 6 (baseline)"] == "saved predictions"

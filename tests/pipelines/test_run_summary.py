import pytest

from pipelines.run_summary import bytes_line, failure_lines, load_words, time_lines
from transforms.bottleneck import JobTimes, find_bottleneck
from transforms.stage_times import added_up


def _manifest(**fields):
    return {
        "stage_secs": added_up([{"queue": 0.5, "run": 1234.56, "read": 1.0}]),
        "bottleneck": None,
        "model_loads": {},
        "dead_letters": {},
        "retries": 0,
    } | fields


def _bottleneck(stage, share, *flags):
    return {"stage": stage, "share": share, "flags": list(flags)}


class TestTimeLines:
    def test_seconds_by_stage(self):
        """All of them stand there, also those that took no time, so that runs compare by eye."""
        assert time_lines(_manifest()) == [
            "  seconds      read 1.00, parse 0.00, queue 0.50, run 1,235, convert 0.00, write 0.00"
        ]

    @pytest.mark.parametrize(
        ("bottleneck", "words"),
        [
            (
                _bottleneck("run", 0.914, "--num_batch_threads", "--jit_compile"),
                "the model: batch threads are 91% busy; try --num_batch_threads, --jit_compile",
            ),
            (
                _bottleneck("read", 0.75, "--direct_num_workers"),
                "reading: 75% of the units' time goes to waiting for rows; try --direct_num_workers",
            ),
        ],
    )
    def test_bottleneck(self, bottleneck, words):
        """What it is, how much it costs, and what to change."""
        line = time_lines(_manifest(bottleneck=bottleneck))[1]
        assert line == f"  bottleneck   {words}"

    @pytest.mark.parametrize(
        "stage",
        ["read", "parse", "preprocess", "bind", "wait_for_model", "run", "convert", "write"],
    )
    def test_there_are_words_for_whatever_is_found(self, stage):
        """No stage that can hold a job up is without words."""
        waits = {"wait_for_rows": 9.0} if stage in ("read", "parse", "preprocess") else {}
        found = find_bottleneck(
            JobTimes(
                stage_secs=added_up([{"run": 0.0}, waits, {stage: 8.0}]),
                unit_secs=10.0,
                steady_secs=5.0,
                batch_thread_secs=10.0,
                num_units=4,
            )
        )
        bottleneck = _bottleneck(found.stage, found.share, *found.flags)
        assert found.flags[0] in time_lines(_manifest(bottleneck=bottleneck))[1]


@pytest.mark.parametrize(
    ("num_bytes", "words"), [(0, "0 KiB"), (2**20 - 1, "1,024 KiB"), (5 << 29, "2,560.0 MiB")]
)
def test_bytes(num_bytes, words):
    """Small jobs have figures, too."""
    manifest = _manifest(bytes_read=num_bytes, bytes_written=2048)
    assert bytes_line(manifest) == f"  bytes        {words} read, 2 KiB written"


class TestLoadWords:
    def test_load(self):
        """A warm-up that took no time worth showing is left out."""
        loads = {"m/1": {"load_secs": 0.52, "warmup_secs": 0.01}}
        assert load_words(_manifest(model_loads=loads), "m", 1) == ", loaded in 0.5 s"

    def test_warm_up(self):
        """A warm-up that took a while is shown apart."""
        loads = {"m/1": {"load_secs": 0.52, "warmup_secs": 2.0}}
        found = load_words(_manifest(model_loads=loads), "m", 1)
        assert found == ", loaded in 0.5 s, warmed up in 2.0 s"

    def test_nothing_known(self):
        """Receipts of an older version do not say."""
        assert load_words(_manifest(), "m", 1) == ""


class TestFailureLines:
    def test_nothing_failed(self):
        """Then nothing is said."""
        assert failure_lines(_manifest()) == []

    def test_dead_letters_by_stage(self):
        """In all, and where they failed."""
        letters = {"predict": 4, "bind": 1200}
        assert failure_lines(_manifest(dead_letters=letters)) == [
            "  dead letters 1,204: 4 in predict, 1,200 in bind"
        ]

    def test_retries(self):
        """Attempts that failed are told though the job went well."""
        assert failure_lines(_manifest(retries=2)) == [
            "  retries      2 of units, after errors that passed"
        ]

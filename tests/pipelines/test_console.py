import io
import threading

import pytest

from pipelines.console import (
    Progress,
    ProgressReporter,
    complain,
    format_duration,
    progress_line,
    say,
)
from servable_core.testing import FakeClock


def _progress(rows=50, total=100, rows_this_run=None, fraction=None, fraction_this_run=None):
    fraction = rows / total if fraction is None else fraction
    return Progress(
        rows=rows,
        rows_this_run=rows if rows_this_run is None else rows_this_run,
        total_rows=total,
        fraction=fraction,
        fraction_this_run=fraction if fraction_this_run is None else fraction_this_run,
    )


@pytest.mark.parametrize(
    ("secs", "expected"),
    [
        (0, "0:00"),
        (9.4, "0:09"),
        (59.6, "1:00"),
        (61, "1:01"),
        (3599, "59:59"),
        (3600, "1:00:00"),
        (36061, "10:01:01"),
    ],
)
def test_format_duration(secs, expected):
    """Minutes and seconds, with hours where there are any."""
    assert format_duration(secs) == expected


class TestProgressLine:
    def test_everything(self):
        """Share, rows, speed and time left."""
        line = progress_line(_progress(8_480_000, 20_190_000), 20.0)
        assert line == " 42.0 %  8,480,000 of 20,190,000 rows  424,000 rows/s  ETA 0:28"

    def test_start(self):
        """Before the first row there is no speed to tell."""
        assert progress_line(_progress(0), 3.0) == "  0.0 %  0 of 100 rows"
        assert progress_line(_progress(0), 0.0) == "  0.0 %  0 of 100 rows"

    def test_end(self):
        """At the end nothing is left."""
        assert progress_line(_progress(100), 10.0) == "100.0 %  100 of 100 rows  10 rows/s"

    def test_unknown_total(self):
        """Where only reading tells the rows, the bytes tell the share."""
        progress = Progress(
            rows=500, rows_this_run=500, total_rows=None, fraction=0.25, fraction_this_run=0.25
        )
        assert progress_line(progress, 5.0) == " 25.0 %  500 rows  100 rows/s  ETA 0:15"

    def test_resumed(self):
        """Speed and time left are those of this run, not of what was there before."""
        progress = _progress(60, 100, rows_this_run=10, fraction_this_run=0.1)
        assert progress_line(progress, 5.0) == " 60.0 %  60 of 100 rows  2 rows/s  ETA 0:20"


class _Terminal(io.StringIO):
    def isatty(self):
        return True


class TestProgressReporter:
    def _report(self, stream, steps):
        """Lets a reporter run, with the clock turned by each of `steps`."""
        clock = FakeClock()
        rows = iter(range(10, 101, 10))
        with ProgressReporter(lambda: _progress(next(rows)), clock, stream):
            for step in steps:
                clock.block_until_waiters(1)
                clock.advance(step)
            clock.block_until_waiters(1)
        return stream.getvalue()

    def test_plain_lines(self):
        """Without a terminal there is a line every ten seconds."""
        text = self._report(io.StringIO(), [9.0, 1.0, 10.0])
        assert text.splitlines() == [
            " 10.0 %  10 of 100 rows  1 rows/s  ETA 1:30",
            " 20.0 %  20 of 100 rows  1 rows/s  ETA 1:20",
        ]

    def test_terminal(self):
        """On a terminal one line is rewritten twice a second, and gone at the end."""
        text = self._report(_Terminal(), [0.5, 0.5])
        assert "\n" not in text
        lines = text.split("\r\x1b[K")
        assert [line[:6] for line in lines] == ["", " 10.0 ", " 20.0 ", ""]

    def test_short_jobs_say_nothing(self):
        """A body that is through at once leaves no line."""
        stream = io.StringIO()
        with ProgressReporter(_progress, FakeClock(), stream):
            pass
        assert stream.getvalue() == ""

    def test_what_cannot_be_read_is_left_out(self):
        """An error of the store costs one line, not the thread."""
        clock, stream = FakeClock(), io.StringIO()
        answers = iter([_progress(10), OSError("the store is down"), _progress(30)])

        def read():
            answer = next(answers)
            if isinstance(answer, Exception):
                raise answer
            return answer

        with ProgressReporter(read, clock, stream):
            for _ in range(3):
                clock.block_until_waiters(1)
                clock.advance(10.0)
            clock.block_until_waiters(1)
        assert [line[:6] for line in stream.getvalue().splitlines()] == [" 10.0 ", " 30.0 "]

    def test_the_end_waits_for_no_reading(self):
        """A reading that takes long when the body ends says nothing any more."""
        clock, stream = FakeClock(), io.StringIO()
        reading, may_end = threading.Event(), threading.Event()

        def read():
            reading.set()
            may_end.wait(30)
            return _progress()

        reporter = ProgressReporter(read, clock, stream)
        with reporter:
            clock.block_until_waiters(1)
            clock.advance(10.0)
            reading.wait(30)
        assert reporter._thread.is_alive()
        may_end.set()
        reporter._thread.join(30)
        assert stream.getvalue() == ""

    def test_slow_readings_are_rare(self):
        """Reading takes a tenth of the time at most, however slow the store."""
        clock, starts = FakeClock(), []

        def read():
            starts.append(clock.now())
            clock.advance(5.0)
            return _progress()

        with ProgressReporter(read, clock, io.StringIO()):
            for step in (10.0, 44.0, 1.0):
                clock.block_until_waiters(1)
                clock.advance(step)
            clock.block_until_waiters(1)
        assert [each - starts[0] for each in starts] == [0.0, 50.0]

    def test_an_error_ends_the_reporter(self):
        """The thread ends with the body, however that ends."""
        reporter = ProgressReporter(_progress, FakeClock(), io.StringIO())
        with pytest.raises(ValueError, match="body"), reporter:
            raise ValueError("body")
        assert not reporter._thread.is_alive()


def test_say_and_complain(capsys):
    """Results go to stdout, errors to stderr."""
    say("done")
    complain("error: no")
    assert capsys.readouterr() == ("done\n", "error: no\n")

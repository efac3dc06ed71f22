import pytest

from servable_core.errors import InvalidArgumentError, UnavailableError
from servable_core.runtime.abort_token import AbortToken
from servable_core.runtime.executor import start_thread
from servable_core.runtime.retry import RetryOptions, retry


class _Waits(AbortToken):
    """Notes how long it was waited on, and is set after so many waits."""

    def __init__(self, abort_after=None):
        super().__init__()
        self.secs = []
        self._abort_after = abort_after

    def wait(self, timeout_secs):
        self.secs.append(timeout_secs)
        if len(self.secs) == self._abort_after:
            self.set("stopped")
        return self.is_set


class _Attempts:
    """Fails with each of `errors` in turn, then returns its number of calls."""

    def __init__(self, *errors):
        self._errors = list(errors)
        self.num_calls = 0

    def __call__(self):
        self.num_calls += 1
        if self._errors:
            raise self._errors.pop(0)
        return self.num_calls


def _is_transient(error):
    return isinstance(error, UnavailableError)


def _retry(attempt, abort, options=None, **more):
    options = options or RetryOptions(max_num_retries=5, initial_backoff_secs=1)
    return retry(attempt, is_transient=_is_transient, options=options, abort=abort, **more)


def test_success_at_once():
    """Nothing is waited for where nothing failed."""
    abort = _Waits()
    assert _retry(_Attempts(), abort) == 1
    assert abort.secs == []


def test_backoff_doubles_up_to_its_bound():
    """Waits grow from the first to the largest one."""
    abort = _Waits()
    attempt = _Attempts(*[UnavailableError(str(index)) for index in range(5)])
    options = RetryOptions(max_num_retries=5, initial_backoff_secs=0.5, max_backoff_secs=3)
    assert _retry(attempt, abort, options) == 6
    assert abort.secs == [0.5, 1.0, 2.0, 3, 3]


def test_retries_run_out():
    """The last failure is raised as it is."""
    abort = _Waits()
    errors = [UnavailableError(str(index)) for index in range(3)]
    attempt = _Attempts(*errors)
    with pytest.raises(UnavailableError) as caught:
        _retry(attempt, abort, RetryOptions(max_num_retries=2, initial_backoff_secs=1))
    assert caught.value is errors[-1]
    assert attempt.num_calls == 3
    assert abort.secs == [1, 2]


def test_permanent_errors_are_raised_at_once():
    """What will not pass is not waited for, at first or later."""
    for errors in ([ValueError("bad")], [UnavailableError("busy"), ValueError("bad")]):
        abort, attempt = _Waits(), _Attempts(*errors)
        with pytest.raises(ValueError, match="bad"):
            _retry(attempt, abort)
        assert attempt.num_calls == len(errors)
        assert len(abort.secs) == len(errors) - 1


def test_no_retries():
    """Zero retries are one attempt."""
    attempt = _Attempts(UnavailableError("busy"))
    with pytest.raises(UnavailableError):
        _retry(attempt, _Waits(), RetryOptions(max_num_retries=0))
    assert attempt.num_calls == 1


def test_abort_ends_the_retries():
    """An abort during a wait raises the failure that was waited on."""
    attempt = _Attempts(*[UnavailableError(str(index)) for index in range(5)])
    with pytest.raises(UnavailableError, match=r"^1$"):
        _retry(attempt, _Waits(abort_after=2))
    assert attempt.num_calls == 2


def test_abort_interrupts_a_real_wait():
    """A long back-off ends as soon as the job does."""
    abort = AbortToken()
    attempt = _Attempts(UnavailableError("busy"))
    outcomes = []

    def work():
        try:
            _retry(attempt, abort, RetryOptions(initial_backoff_secs=600, max_backoff_secs=600))
        except UnavailableError as error:
            outcomes.append(str(error))

    thread = start_thread(work, name="retrying")
    abort.set("SIGINT")
    thread.join(10)
    assert outcomes == ["busy"]


def test_interrupts_are_never_retried():
    """KeyboardInterrupt is no failure of the work."""
    abort = _Waits()
    with pytest.raises(KeyboardInterrupt):
        _retry(_Attempts(KeyboardInterrupt()), abort)
    assert abort.secs == []


def test_retries_are_told():
    """Each failure that is retried is told with its wait, the last one is not."""
    told = []
    errors = [UnavailableError("a"), UnavailableError("b"), ValueError("c")]
    with pytest.raises(ValueError, match="c"):
        _retry(_Attempts(*errors), _Waits(), on_retry=lambda *each: told.append(each))
    assert told == [(errors[0], 1), (errors[1], 2)]


@pytest.mark.parametrize(
    "options",
    [{"max_num_retries": -1}, {"initial_backoff_secs": -0.1}, {"max_backoff_secs": -1}],
)
def test_bad_options(options):
    """Negative numbers are refused when the options are made."""
    with pytest.raises(InvalidArgumentError, match="must be 0 or more"):
        RetryOptions(**options)

"""The lock on an output directory in an object store: claims, which launchers write and refresh.

Beam's FileSystems can create, list, read and delete, but not create only what is not there. So each
launcher writes a claim under a name of its own, and holds the lock if a listing made after that shows
no other claim. Of two that see each other the earlier one waits until the later one has withdrawn.

Guaranteed, in a store whose listings show what was written before (as those of S3, GCS and Azure):

- of launchers that start at the same instant at most one gets the lock, whatever their clocks say;
- a claim that is replaced, since it is old or `--take_over` was given, is named by the claim that
  replaces it, so its holder knows at its next refresh, and stops.

Not guaranteed: that the former holder has stopped by then. It may not reach the store, and workers
elsewhere may outlive their launcher. What they still commit does no harm: see `unit_commit`. And
clocks that differ by minutes make a claim look old too early, or too late.
"""

import contextlib
import json
import re
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from enum import Enum

from servable_core.errors import UnavailableError
from servable_core.runtime.clock import Clock
from servable_core.runtime.executor import start_thread
from transforms.storage import delete_file, file_system_for, write_bytes

CLAIM_NAME = re.compile(r"lock-[0-9a-f]{32}")
_HEARTBEAT_SECS = 30.0
_STALE_SECS = 180.0
_STARTING_SECS = 15.0  # whoever made a claim so lately is alive, whatever --take_over says
_SETTLE_SECS = 1.0
_MAX_SETTLE_READS = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """What a launcher says of itself.

    Attributes:
        name: Name of the file, which is its own.
        owner: Process and machine, for messages.
        since_secs: When it was made, in Unix seconds.
        refreshed_secs: When it was written last.
        replaces: Names of the claims that it takes the place of.
    """

    name: str
    owner: str
    since_secs: float
    refreshed_secs: float
    replaces: Sequence[str] = field(default_factory=tuple)

    @property
    def rank(self) -> tuple[float, str]:
        """Returns what tells which of two launchers that see each other may go on: the lesser one."""
        return (self.since_secs, self.name)


class Standing(Enum):
    """What a listing says of a claim that it was made after."""

    WON = "won"
    UNSETTLED = "unsettled"
    REFUSED = "refused"


def replaceable(claims: Mapping[str, Claim], now_secs: float, *, take_over: bool) -> list[str]:
    """Returns the names of the claims that a new one may take the place of."""
    return [
        each.name
        for each in claims.values()
        if now_secs - each.refreshed_secs >= _STALE_SECS
        or (take_over and now_secs - each.since_secs >= _STARTING_SECS)
    ]


def rivals(own: Claim, claims: Mapping[str, Claim]) -> list[Claim]:
    """Returns the claims that are in the way of `own`, those that replace it first."""
    ignored = {own.name, *own.replaces}
    found = [each for each in claims.values() if each.name not in ignored]
    return sorted(found, key=lambda each: (own.name not in each.replaces, each.rank))


def standing(own: Claim, claims: Mapping[str, Claim]) -> Standing:
    """Returns how `own` stands among the claims that were listed after it was written."""
    others = rivals(own, claims)
    if any(each.rank < own.rank or own.name in each.replaces for each in others):
        return Standing.REFUSED
    return Standing.UNSETTLED if others or own.name not in claims else Standing.WON


def successor(own: Claim, claims: Mapping[str, Claim]) -> Claim | None:
    """Returns the claim that has taken the place of `own`, which held the lock; None if it still does.

    Others may be there: their launchers are about to withdraw. A claim that is gone was deleted by
    whoever replaced it, or with other files; in that case it may be written again.
    """
    others = rivals(own, claims)
    if others and (own.name in others[0].replaces or own.name not in claims):
        return others[0]
    return None


class _Claims:
    """The claims in an output directory."""

    def __init__(self, output: str, directory: str) -> None:
        self._output = output
        self._directory = f"{output}/{directory}"

    def path(self, name: str) -> str:
        return f"{self._directory}/{name}"

    def read(self) -> dict[str, Claim]:
        paths = (each.path for each in file_system_for(self._output).list_files(self._directory))
        names = (path.rpartition("/")[2] for path in paths)
        found = (self._read_one(name) for name in names if CLAIM_NAME.fullmatch(name))
        return {each.name: each for each in found if each is not None}

    def _read_one(self, name: str) -> Claim | None:
        try:
            with file_system_for(self._output).open(self.path(name)) as stream:
                content = stream.read()
        except FileNotFoundError:  # deleted since it was listed
            return None
        return _parse(name, content)

    def write(self, claim: Claim) -> None:
        fields = asdict(claim)
        del fields["name"]
        write_bytes(self._output, self.path(claim.name), json.dumps(fields).encode())

    def delete(self, names: Sequence[str]) -> None:
        """Deletes claims, as far as that can be done: nobody heeds them for long."""
        for name in names:
            with contextlib.suppress(Exception):
                delete_file(self.path(name))


def _parse(name: str, content: bytes) -> Claim:
    """Returns a claim; one that cannot be read is somebody's, and always fresh."""
    try:
        fields = json.loads(content)
        return Claim(
            name=name,
            owner=str(fields["owner"]),
            since_secs=float(fields["since_secs"]),
            refreshed_secs=float(fields["refreshed_secs"]),
            replaces=tuple(fields["replaces"]),
        )
    except (ValueError, TypeError, KeyError):
        return Claim(name=name, owner="", since_secs=0.0, refreshed_secs=float("inf"))


@contextmanager
def remote_lock(
    output: str,
    directory: str,
    owner: str,
    *,
    take_over: bool,
    clock: Clock,
    on_lost: Callable[[str], None],
) -> Iterator[None]:
    """Holds the lock during the body, as the module says.

    Args:
        output: The output directory.
        directory: Where in it claims lie.
        owner: This process, for the messages of others.
        take_over: Whether to replace the claim of a launcher that seems to be at work.
        clock: For the age of claims, and to wait.
        on_lost: Gets the new holder's owner once this claim is replaced; called from a thread.

    Raises:
        UnavailableError: Another launcher holds it.
    """
    claims = _Claims(output, directory)
    own = _win(claims, output, owner, take_over, clock)
    heartbeat = _Heartbeat(claims, own, clock, on_lost)
    try:
        yield
    finally:
        heartbeat.stop()
        claims.delete([own.name])


def _win(claims: _Claims, output: str, owner: str, take_over: bool, clock: Clock) -> Claim:
    """Writes a claim and returns it once it holds the lock."""
    found, now_secs = claims.read(), clock.wall_time()
    own = Claim(
        name=f"lock-{uuid.uuid4().hex}",
        owner=owner,
        since_secs=now_secs,
        refreshed_secs=now_secs,
        replaces=tuple(replaceable(found, now_secs, take_over=take_over)),
    )
    if others := rivals(own, found):
        raise _refusal(claims, others[0], output, now_secs)
    try:
        claims.write(own)
        _settle(claims, own, output, clock)
    except BaseException:
        claims.delete([own.name])
        raise
    claims.delete(own.replaces)
    return own


def _settle(claims: _Claims, own: Claim, output: str, clock: Clock) -> None:
    """Returns when no other claim is in the way.

    Raises:
        UnavailableError: One is, and stays.
    """
    found: dict[str, Claim] = {}
    condition = threading.Condition()
    for _ in range(_MAX_SETTLE_READS):
        found = claims.read()
        match standing(own, found):
            case Standing.WON:
                return
            case Standing.REFUSED:
                break
        with condition:
            clock.wait(condition, _SETTLE_SECS)
    others = rivals(own, found)
    if not others:
        raise UnavailableError(
            f"{claims.path(own.name)} was written, but the store does not list it; try again later, or choose another directory"
        )
    raise _refusal(claims, others[0], output, clock.wall_time())


def _refusal(claims: _Claims, other: Claim, output: str, now_secs: float) -> UnavailableError:
    if not other.owner:
        return UnavailableError(
            f"{claims.path(other.name)} does not tell whose lock it is; give --take_over if no other job writes there"
        )
    age_secs = now_secs - other.refreshed_secs
    return UnavailableError(
        f"--output={output} is being written by {other.owner}, last seen {age_secs:.0f} s ago; wait for it, or give --take_over if it is gone for sure"
    )


class _Heartbeat:
    """Refreshes a claim from a thread until it is stopped, or finds that the claim was replaced."""

    def __init__(
        self, claims: _Claims, own: Claim, clock: Clock, on_lost: Callable[[str], None]
    ) -> None:
        self._claims, self._own, self._clock, self._on_lost = claims, own, clock, on_lost
        self._changed = threading.Condition()
        self._is_stopped = False  # Guarded by _changed.
        self._thread = start_thread(self._run, name="output_lock_heartbeat")

    def stop(self) -> None:
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        is_lost = False
        while not is_lost and self._wait():
            with contextlib.suppress(Exception):  # the store may be back before the claim is stale
                is_lost = self._renew()

    def _wait(self) -> bool:
        """Waits for the next beat; returns whether there is to be one."""
        with self._changed:
            if not self._is_stopped:
                self._clock.wait(self._changed, _HEARTBEAT_SECS)
            return not self._is_stopped

    def _renew(self) -> bool:
        """Refreshes the claim, or returns True if it was replaced."""
        new_holder = successor(self._own, self._claims.read())
        if new_holder is not None:
            self._on_lost(new_holder.owner or "another job")
            return True
        self._claims.write(replace(self._own, refreshed_secs=self._clock.wall_time()))
        return False

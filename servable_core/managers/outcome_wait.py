"""What a wait for many servables has yet to see decided."""

from collections.abc import Callable, Iterable


class OutcomeWait:
    """Asks about each servable once, and again after each of its changes; not thread-safe.

    So a wait for many costs in all as much as they change, not that times their number.

    Args:
        servable_names: What is waited for.
    """

    def __init__(self, servable_names: Iterable[str]) -> None:
        self._places = {name: place for place, name in enumerate(dict.fromkeys(servable_names))}
        self._changed = set(self._places)
        self._undecided = set(self._places)

    def note_change(self, servable_name: str) -> None:
        """Has `is_over` ask about a servable again."""
        if servable_name in self._places:
            self._changed.add(servable_name)

    def is_over(self, is_decided: Callable[[str], bool]) -> bool:
        """Whether all are decided; `is_decided` is asked about those that have changed, in order."""
        changed, self._changed = self._changed, set()
        for name in sorted(changed, key=self._places.__getitem__):
            if is_decided(name):
                self._undecided.discard(name)
            else:
                self._undecided.add(name)
        return not self._undecided

"""Which units of a plan can be trained next: those whose parents are in the store. No torch, whatever the executor."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

from cl_bench.results.store.failures import Failure

Unit = tuple[str, ...]
"""Keys of stages that one process trains one after the other."""


class Frontier:
    """Hands out units when they can be trained; every unit ends as done, failed or skipped."""

    def __init__(
        self,
        units: Sequence[Unit],
        parents: Mapping[str, Sequence[str]],
        stored: Callable[[str], bool],
        kept: Mapping[str, Failure],
        trained: Callable[[str], bool] | None = None,
    ) -> None:
        """Start with what is not stored.

        units: in an order in which parents come first; parents: of every stage, what it starts from or reads; kept:
        failures of earlier runs, by key, that are not to be tried again; trained: whether a stage can be
        started from, though it may lack what comes after (None: `stored`).
        """
        self._stored, self._trained = stored, trained or stored
        self._todo = {unit: None for unit in units if not all(map(stored, unit))}
        of = {key: unit for unit in self._todo for key in unit}
        self._children: dict[Unit, list[Unit]] = {}
        self._waiting: dict[Unit, set[Unit]] = {}
        """What is not there of all that a unit waits for."""
        self._ready: deque[Unit] = deque()
        for unit in self._todo:
            self._waiting[unit] = {of[key] for key in _above(unit, parents) if key in of}
            for parent in self._waiting[unit]:
                self._children.setdefault(parent, []).append(unit)
            if not self._waiting[unit]:
                self._ready.append(unit)
        self.failures: dict[str, Failure] = {}
        for unit in list(self._todo):
            again = next((kept[key] for key in unit if key in kept and not stored(key)), None)
            if again is not None and unit in self._todo:
                self.failed(unit, again)

    def __len__(self) -> int:
        """Return how many units have not ended."""
        return len(self._todo)

    def take(self) -> Unit | None:
        """Return a unit that can be trained now and is not being trained; None where all wait for others."""
        return self._ready.popleft() if self._ready else None

    def later(self, unit: Unit) -> None:
        """Give back a unit that another process is at."""
        self._ready.append(unit)

    def done(self, unit: Unit) -> None:
        """Take note that a unit is in the store."""
        del self._todo[unit]
        children = self._children.pop(unit, [])
        for child in children:
            self._waiting[child].discard(unit)
        # The descendants of what was done last come first: a run is finished before the next one is begun.
        ready = [child for child in children if child in self._todo and not self._waiting[child]]
        self._ready.extendleft(reversed(ready))

    def failed(self, unit: Unit, failure: Failure) -> list[str]:
        """Take note of a failure; return the keys of the unit and of all that descends from it, which are skipped.

        What the unit stored before it failed is there, and no failure. Nothing is skipped for what is trained.
        """
        if all(map(self._trained, unit)):
            self.done(unit)
            lacking = [key for key in unit if not self._stored(key)]
            self.failures.update(dict.fromkeys(lacking, failure))
            return lacking
        ended = [one for one in dict.fromkeys(self._with_descendants(unit)) if one in self._todo]
        for one in ended:
            del self._todo[one]
            if one in self._ready:
                self._ready.remove(one)
            own = failure if one == unit else Failure("skipped", f"stage {unit[0][:12]}, its ancestor, failed")
            self.failures.update((key, own) for key in one if not self._stored(key))
        return [key for one in ended for key in one if key in self.failures]

    def _with_descendants(self, unit: Unit) -> Iterator[Unit]:
        yield unit
        for child in self._children.pop(unit, []):
            yield from self._with_descendants(child)


def _above(unit: Unit, parents: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield the stages that `unit` descends from: it may read what any of them left, so each must be there."""
    pending, seen = [key for own in unit for key in parents[own] if key not in unit], set[str]()
    while pending:
        key = pending.pop()
        if key not in seen:
            seen.add(key)
            yield key
            pending.extend(parents[key])

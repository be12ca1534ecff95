"""Which chains of a plan can be trained next: those whose parents are in the store. No torch, whatever the executor."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

from cl_bench.results.store.failures import Failure

Chain = tuple[str, ...]
"""Keys of stages that one process trains one after the other."""


class Frontier:
    """Hands out chains when they can be trained; every chain ends as done, failed or skipped."""

    def __init__(
        self,
        chains: Sequence[Chain],
        parents: Mapping[str, Sequence[str]],
        settled: Callable[[str], bool],
        kept: Mapping[str, Failure],
        stored: Callable[[str], bool],
    ) -> None:
        """Start with what is not settled, that is, stored and scored.

        chains: in an order in which parents come first; parents: of every stage, what it starts from or reads; kept:
        failures of earlier runs, by key, that are not to be tried again; stored: whether a stage can be started from.
        """
        self._settled, self._stored = settled, stored
        self._todo = {chain: None for chain in chains if not all(map(settled, chain))}
        of = {key: chain for chain in self._todo for key in chain}
        self._children: dict[Chain, list[Chain]] = {}
        self._waiting: dict[Chain, set[Chain]] = {}
        """What is not there of all that a chain waits for."""
        self._ready: deque[Chain] = deque()
        for chain in self._todo:
            self._waiting[chain] = {of[key] for key in _above(chain, parents) if key in of}
            for parent in self._waiting[chain]:
                self._children.setdefault(parent, []).append(chain)
            if not self._waiting[chain]:
                self._ready.append(chain)
        self.failures: dict[str, Failure] = {}
        for chain in list(self._todo):
            again = next((kept[key] for key in chain if key in kept and not (settled(key) or stored(key))), None)
            if again is not None and chain in self._todo:
                self.failed(chain, again)

    def __len__(self) -> int:
        """Return how many chains have not ended."""
        return len(self._todo)

    def take(self) -> Chain | None:
        """Return a chain that can be trained now and is not being trained; None where all wait for others."""
        return self._ready.popleft() if self._ready else None

    def give_back(self, chain: Chain) -> None:
        """Give back a chain that another process is at."""
        self._ready.append(chain)

    def done(self, chain: Chain) -> None:
        """Take note that a chain is in the store."""
        del self._todo[chain]
        children = self._children.pop(chain, [])
        for child in children:
            self._waiting[child].discard(chain)
        # The descendants of what was done last come first: a run is finished before the next one is begun.
        ready = [child for child in children if child in self._todo and not self._waiting[child]]
        self._ready.extendleft(reversed(ready))

    def failed(self, chain: Chain, failure: Failure) -> list[str]:
        """Take note of a failure; return the keys of the chain and of all that descends from it, which are skipped.

        What the chain stored before it failed is there, and no failure. Nothing is skipped for what is trained.
        """
        if all(map(self._stored, chain)):
            self.done(chain)
            lacking = [key for key in chain if not self._settled(key)]
            self.failures.update(dict.fromkeys(lacking, failure))
            return lacking
        ended = [one for one in dict.fromkeys(self._with_descendants(chain)) if one in self._todo]
        for one in ended:
            del self._todo[one]
            if one in self._ready:
                self._ready.remove(one)
            own = failure if one == chain else Failure("skipped", f"stage {chain[0][:12]}, its ancestor, failed")
            self.failures.update((key, own) for key in one if not self._settled(key))
        return [key for one in ended for key in one if key in self.failures]

    def _with_descendants(self, chain: Chain) -> Iterator[Chain]:
        yield chain
        for child in self._children.pop(chain, []):
            yield from self._with_descendants(child)


def _above(chain: Chain, parents: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield the stages that `chain` descends from: it may read what any of them left, so each must be there."""
    pending, seen = [key for own in chain for key in parents[own] if key not in chain], set[str]()
    while pending:
        key = pending.pop()
        if key not in seen:
            seen.add(key)
            yield key
            pending.extend(parents[key])

"""Stages that were trained once, for all tests that only need them to be there."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from cl_bench.results.store.store import Store
from cl_bench.stages.plan import Plan
from cl_bench.stages.trainer import Trainer


@dataclass(frozen=True)
class Kept:
    """A folder of stages by their keys."""

    folder: Path

    def lend(self, store: Store, key: str) -> None:
        """Put a stage into a store that has not got it; nothing where it is not kept."""
        if key not in store and (self.folder / key).exists():
            store.place(key, shutil.copytree(self.folder / key, store.root / f".draft-{key}"))

    def take(self, store: Store, key: str) -> None:
        """Keep a stage of a store."""
        if not (self.folder / key).exists():
            shutil.copytree(store.folder(key), self.folder / key)

    def begin(self, trainer: Trainer, plan: Plan, key: str) -> None:
        """Have a stage in the trainer's store: it is trained where it is not kept yet."""
        self.lend(trainer.store, key)
        if key not in trainer.store:
            trainer.train(plan, [key])
        self.take(trainer.store, key)

"""What executors have in common: an object that trains the chains of a plan, and what it is told and tells."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cl_bench.config.schema import Experiment
from cl_bench.model.backbone import load_weights
from cl_bench.model.maps import Layout
from cl_bench.plugins.plugin_files import load_plugin_files
from cl_bench.results.store.failures import Failure
from cl_bench.results.store.store import Store
from cl_bench.runner.executors.frontier import Chain, Frontier
from cl_bench.runner.prepare import Prepared, check_device
from cl_bench.stages.attempt import BUSY, DONE, Outcome
from cl_bench.stages.plan import Plan, make_plan
from cl_bench.stages.trainer import Progress, Trainer
from cl_bench.tasks.catalog import load_catalog
from cl_bench.utils.machine import set_up_numerics

Report = Callable[[str, str | Failure], None]
"""Called with a stage's key and what became of it: "damaged" (it is trained again), "started", "busy" (another
process is at it), "done", "differs" (from the rows that it was added to), its failure."""
POLL = 0.2
"""Seconds between looks at progress, and at chains that other processes are training."""


class Executor(ABC):
    """Who trains the chains of a plan, and where."""

    def check(self, experiment: Experiment) -> None:
        """Raise UserError where it cannot train the experiment; by default, where this machine lacks the device."""
        check_device(experiment, here=True)

    @abstractmethod
    def train(self, frontier: Frontier, prepared: Prepared, progress: Progress, report: Report) -> None:
        """Train until no chain of the frontier is left."""


@dataclass(frozen=True)
class Job:
    """What a worker needs to make its own trainer."""

    experiment: Experiment
    plugin_files: tuple[str, ...]
    store: Path
    layout: Layout

    @classmethod
    def of(cls, prepared: Prepared) -> Job:
        """Return what workers need for what was prepared here."""
        return cls(prepared.experiment, prepared.plugin_files, prepared.store.root.resolve(), prepared.weights.layout)

    def trainer(self) -> tuple[Plan, Trainer]:
        """Return the plan and a trainer, in a process that has nothing yet."""
        set_up_numerics(self.experiment.threads)
        load_plugin_files(self.plugin_files)
        catalog = load_catalog(self.experiment)
        weights = load_weights(self.experiment.model.backbone, self.experiment.model.weights, self.layout)
        store = Store(self.store)
        return make_plan(self.experiment, catalog, weights), Trainer(self.experiment, catalog, weights, store)


def record_outcome(frontier: Frontier, chain: Chain, outcome: Outcome, report: Report) -> None:
    """Take note of how an attempt ended."""
    if isinstance(outcome, Failure):
        for key in frontier.failed(chain, outcome):
            report(key, frontier.failures[key])
    elif outcome == BUSY:
        frontier.give_back(chain)
        report(chain[0], BUSY)
        time.sleep(POLL)
    else:
        frontier.done(chain)
        for key in chain:
            report(key, DONE)

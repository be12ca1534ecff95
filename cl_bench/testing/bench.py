"""A strategy on a tiny stream, with an observer beside it: what `cl-bench strategy check` looks at."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from avalanche.core import SupervisedPlugin

from cl_bench.config.presets import load_experiment
from cl_bench.model.backbone import load_weights
from cl_bench.model.trial import try_experiment
from cl_bench.results.store.failures import Failure
from cl_bench.results.store.store import Store
from cl_bench.stages.attempt import attempt
from cl_bench.stages.plan import Plan, make_plan
from cl_bench.stages.trainer import Trainer
from cl_bench.tasks.catalog import load_catalog
from cl_bench.training.harness import Harness
from cl_bench.utils.hashing import digest
from cl_bench.utils.machine import set_up_numerics


class CutOffError(Exception):
    """What ends a stage after its first epoch, as a kill would, to see whether it resumes."""


@dataclass
class Observations:
    """What the observer saw of a stage.

    images: the current task's, by step; norm_updates: of batch norm, in any step; teachers: their hashes; dropped:
    past predictors that the plug-ins' losses reach, with gradients that nothing asked for.
    """

    images: list[list[int]] = field(default_factory=list)
    norm_updates: set[int] = field(default_factory=set)
    teachers: list[str] = field(default_factory=list)
    dropped: set[str] = field(default_factory=set)


class Observer(SupervisedPlugin):
    """Looks on while a stage is trained, and changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = Observations()
        self.interrupt = False
        self._updates = 0

    def before_training_epoch(self, strategy: Harness, **_: Any) -> None:
        """End the stage after its first epoch where that is wanted; note the teacher."""
        if self.interrupt and strategy.epoch == 1:
            raise CutOffError
        self._updates = norm_updates(strategy.model)
        self._note_teacher(strategy)

    def before_training_iteration(self, strategy: Harness, **_: Any) -> None:
        """Note the images of the current task, before a plug-in adds others."""
        self.seen.images.append([int(target["index"]) for target in strategy.mb_y])

    def after_backward(self, strategy: Harness, **_: Any) -> None:
        """Note the past predictors that the loss reaches, and that no part of the strategy activated."""
        asked = {strategy.model.tasks[index].owner for index in strategy.active}
        self.seen.dropped |= {
            task.name
            for task in strategy.past_tasks
            if task.owner not in asked
            and any(p.grad is not None and p.grad.any() for p in strategy.model.predictors[task.owner].parameters())
        }

    def after_training_iteration(self, strategy: Harness, **_: Any) -> None:
        """Note how often batch norm was updated since the step before, in passes before the step's own too."""
        before, self._updates = self._updates, norm_updates(strategy.model)
        self.seen.norm_updates.add(self._updates - before)

    def after_training_exp(self, strategy: Harness, **_: Any) -> None:
        """Note the teacher once more."""
        self._note_teacher(strategy)

    def _note_teacher(self, strategy: Harness) -> None:
        if strategy.teacher_in_use is not None:
            self.seen.teachers.append(digest(strategy.teacher_in_use.state_dict()))


def norm_updates(model: torch.nn.Module) -> int:
    """Return how often the statistics of a batch-norm layer of the backbone were updated, at most (0 without one).

    Those behind it run once a level of the pyramid.
    """
    counts = {k: v for k, v in model.state_dict().items() if k.endswith("num_batches_tracked")}
    return max((int(v) for k, v in counts.items() if k.startswith("backbone.")), default=0)


class Bench:
    """The tiny stream in a store below `folder`, in which stages that strategies share are trained once."""

    def __init__(self, folder: Path) -> None:
        self.experiment = load_experiment("check")
        set_up_numerics(self.experiment.threads)
        self.store = Store(folder)
        model = self.experiment.model
        self.weights = load_weights(model.backbone, model.weights, try_experiment(self.experiment))
        self.catalog = load_catalog(self.experiment)
        self.observer = Observer()
        self.trainer = Trainer(self.experiment, self.catalog, self.weights, self.store, (self.observer,))
        self._seen: dict[tuple[str, ...], Observations] = {}

    def plan(self, text: str) -> Plan:
        """Return the plan of one strategy."""
        experiment = self.experiment.model_copy(update={"strategies": (text,)})
        return make_plan(experiment, self.catalog, self.weights)

    def train(self, plan: Plan, interrupt: str = "") -> Failure | None:
        """Train what is missing of the plan, up to the first failure; interrupt: the stage that is cut off."""
        for chain in plan.chains():
            if all(key in self.store for key in chain):
                continue
            self.observer.seen = Observations()
            self._seen.setdefault(chain, self.observer.seen)  # what resumes later saw a part of it
            self.observer.interrupt = interrupt in chain
            outcome = attempt(self.trainer, plan, chain, lambda *_: None)
            if isinstance(outcome, Failure):
                return outcome
        return None

    def seen(self, plan: Plan) -> list[Observations]:
        """Return what was seen of the plan's run, stage by stage; of stages trained in one process all at once."""
        chains = dict.fromkeys(plan.stages[key].chain or (key,) for key in plan.runs[0].stages)
        return [self._seen[chain] for chain in chains]

    def ends(self, plan: Plan) -> list[dict[str, torch.Tensor]]:
        """Return the weights at the ends of the run's stages."""
        return [self.store.weights(key) for key in plan.runs[0].stages]

"""What scoring on test parts adds to a training, and what the resamples of AP take; stages of one epoch are trained.

The share is of `naive`, whose training is the shortest: every other strategy scores the same images.

python benchmarks/scoring.py voc-coco-imagenette-best --json results/benchmarks/scoring.json
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pairs import arguments, keep, timed

from cl_bench.config.presets import load_experiment
from cl_bench.metrics.bootstrap import image_weights
from cl_bench.model.backbone import load_weights
from cl_bench.model.trial import try_experiment
from cl_bench.model.unified import UnifiedModel
from cl_bench.results.store.scores import Scores
from cl_bench.results.store.store import Store
from cl_bench.stages.plan import make_plan
from cl_bench.stages.scoring import Scorer, dataset, evaluated, load_weights_into
from cl_bench.stages.trainer import Trainer
from cl_bench.tasks.catalog import load_catalog


class Timed(Scorer):
    """A scorer that notes the seconds of every stage."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.seconds: dict[str, float] = {}

    def score(self, key: str, names: Sequence[str], model: UnifiedModel) -> None:
        """Score a stage."""
        self.seconds[key] = timed(partial(super().score, key, names, model))


def resampling(trainer: Trainer, name: str, key: str, rounds: int) -> list[float]:
    """Return the seconds that the resamples of a task's score take, in every round."""
    test, model = trainer.entries[name].audit.test, trainer.untrained(0)
    assert test is not None
    load_weights_into(model, trainer.weights_of(key), key)
    images = dataset(trainer.entries[name], test.split, test.fingerprint)
    metric, weights = evaluated(model, images, trainer.experiment), image_weights(name, len(images))
    metric.compute()
    return [timed(partial(metric.resampled, weights)) for _ in range(rounds)]


def main() -> None:
    """Print a line a stage, and keep all figures as JSON where a file is named."""
    parser = arguments(__doc__, rounds=5, threads=1)
    parser.add_argument("experiment")
    asked = parser.parse_args()
    given = load_experiment(asked.experiment, [f"threads={asked.threads}", "strategies=[naive]", "seeds=[0]"])
    experiment = given.model_copy(update={"tasks": tuple(t.model_copy(update={"epochs": 1}) for t in given.tasks)})
    catalog, base = load_catalog(experiment), experiment.model
    weights = load_weights(base.backbone, base.weights, try_experiment(experiment))
    found: dict[str, Any] = {"stages": {}}
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(experiment, catalog, weights, Store(Path(folder)))
        scorer = vars(trainer)["scorer"] = Timed(experiment, catalog, Scores(trainer.store.root))
        plan = make_plan(experiment, catalog, weights)
        order, keys = experiment.resolved_orders()[0], plan.runs[0].stages
        trainer.train(plan, keys)
        epochs = {task.name: task.epochs or given.epochs for task in given.tasks}
        print("| stage | training s | scoring s | share |\n|---|--:|--:|--:|")
        for name, key in zip(order, keys, strict=True):
            training = epochs[name] * trainer.store.describe(key)["cost"]["train_seconds"]
            found["stages"][name] = {"training": training, "scoring": scorer.seconds[key]}
        sums = {way: sum(stage[way] for stage in found["stages"].values()) for way in ("training", "scoring")}
        for name, spent in {**found["stages"], "all": sums}.items():
            share = spent["scoring"] / spent["training"]
            print(f"| {name} | {spent['training']:.0f} | {spent['scoring']:.1f} | {share:.3f} |")
        for name in order:
            if trainer.entries[name].task.kind.name == "detection":
                found["resampling"] = resampling(trainer, name, keys[-1], asked.rounds)
                print(f"1,000 resamples of {name}: {statistics.median(found['resampling']):.2f} s")
    keep(asked, found)


if __name__ == "__main__":
    main()

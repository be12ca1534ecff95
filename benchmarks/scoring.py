"""What scoring on test parts adds to a training, and what the resamples of AP take; stages of one epoch are trained.

The share is of `naive`, whose training is the shortest: every other strategy scores the same images.

python benchmarks/scoring.py voc-coco-imagenette-best --json results/benchmarks/scoring.json
"""

from __future__ import annotations

import statistics
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from pairs import arguments, keep, timed

from cl_bench.config.presets import load_experiment
from cl_bench.metrics.bootstrap import image_weights
from cl_bench.model.backbone import load_weights
from cl_bench.model.trial import try_experiment
from cl_bench.model.unified import UnifiedModel
from cl_bench.results.store.store import Store
from cl_bench.stages.plan import Stage, make_plan
from cl_bench.stages.scoring import dataset, evaluated, load_weights_into
from cl_bench.stages.trainer import Trainer
from cl_bench.tasks.catalog import load_catalog


def model_of(trainer: Trainer, stage: Stage) -> UnifiedModel:
    """Return the model as the stage has left it."""
    model = trainer.untrained(stage.seed)
    load_weights_into(model, trainer.weights_of(stage.key), stage.key)
    return model


def resampling(trainer: Trainer, name: str, model: UnifiedModel, rounds: int) -> list[float]:
    """Return the seconds that the resamples of a task's score take, in every round."""
    test = trainer.entries[name].audit.test
    assert test is not None
    images = dataset(trainer.entries[name], test.split, test.fingerprint)
    weights = image_weights(name, len(images))
    found = []
    for _ in range(rounds):
        metric = evaluated(model, images, trainer.experiment)
        metric.compute()
        found.append(timed(lambda metric=metric: metric.resampled(weights)))  # type: ignore[misc]
    return found


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
        plan = make_plan(experiment, catalog, weights)
        stages = [plan.stages[key] for key in plan.runs[0].stages]
        trainer.train(plan, [stage.key for stage in stages])
        epochs = {task.name: task.epochs or given.epochs for task in given.tasks}
        print("| stage | training s | scoring s | share |\n|---|--:|--:|--:|")
        for place, stage in enumerate(stages):
            learnt = experiment.resolved_orders()[0][: place + 1]
            model = model_of(trainer, stage)
            score = partial(trainer.scorer.score, stage.key, learnt, model)
            scoring = [timed(score) for _ in range(asked.rounds)]
            training = epochs[learnt[-1]] * trainer.store.describe(stage.key)["cost"]["train_seconds"]
            found["stages"][learnt[-1]] = {"training": training, "scoring": scoring}
            middle = statistics.median(scoring)
            print(f"| {learnt[-1]} | {training:.0f} | {middle:.1f} | {middle / training:.3f} |", flush=True)
        for name in experiment.resolved_orders()[0]:
            if trainer.entries[name].task.kind.name == "detection":
                found["resampling"] = resampling(trainer, name, model, asked.rounds)
                print(f"1,000 resamples of {name}: {statistics.median(found['resampling']):.2f} s")
    keep(asked, found)


if __name__ == "__main__":
    main()

"""A whole comparison with its stages shared, as always here, beside every run and baseline trained by itself.

python benchmarks/sharing.py quickstart --strategies naive,kd,kd+replay --epochs 2

Both train and evaluate the same stages in one process, one after the other; the second is what a runner does that knows
nothing of stages.
"""

from __future__ import annotations

import statistics
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from pairs import arguments, interleaved, keep, ratio, timed

from cl_bench.config.schema import Experiment
from cl_bench.stages.plan import Plan, Run, make_plan
from cl_bench.utils.machine import set_up_numerics
from cl_bench.utils.parsing import split_list


def _alone(plan: Plan, run: Run) -> tuple[tuple[str, ...], ...]:
    """Return what a run needs that finds no stage of another: the experts that it follows, then its own stages."""
    experts = dict.fromkeys(key for stage in run.stages for key in plan.stages[stage].experts.values())
    return (*((key,) for key in experts), tuple(run.stages))


def trained(experiment: Experiment, weights: Any, catalog: Any, shared: bool) -> tuple[float, int]:
    """Return the seconds of the comparison, from empty stores, and how many stages it trained."""
    from cl_bench.results.store.store import Store
    from cl_bench.stages.trainer import Trainer

    plan = make_plan(experiment, catalog, weights)
    stores = [tuple(plan.chains())] if shared else [_alone(plan, run) for run in (*plan.baselines, *plan.runs)]

    def work() -> None:
        for place, chains in enumerate(stores):
            trainer = Trainer(experiment, catalog, weights, Store(Path(folder) / str(place)))
            for chain in chains:
                trainer.train(plan, chain)

    with tempfile.TemporaryDirectory() as folder:
        return timed(work), sum(len(chain) for chains in stores for chain in chains)


def main() -> None:
    """Print both and their ratio."""
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("experiment")
    parser.add_argument("--strategies", default="naive,kd,kd+replay")
    parser.add_argument("--epochs", type=int, default=2)
    options = parser.parse_args()
    from cl_bench.config.presets import load_experiment
    from cl_bench.model.backbone import load_weights
    from cl_bench.model.trial import try_experiment
    from cl_bench.tasks.catalog import load_catalog

    set_up_numerics(options.threads)
    changes = {"strategies": split_list(options.strategies), "seeds": [0], "threads": options.threads}
    changes["epochs"] = options.epochs
    experiment = load_experiment(options.experiment, changes)
    weights = load_weights(experiment.model.backbone, experiment.model.weights, try_experiment(experiment))
    catalog = load_catalog(experiment)
    stages: dict[str, int] = {}

    def way(name: str) -> float:
        seconds, stages[name] = trained(experiment, weights, catalog, shared=name == "shared")
        return seconds

    found = interleaved({name: partial(way, name) for name in ("shared", "by itself")}, options.rounds)
    print("| | stages | seconds, median |\n|---|--:|--:|")
    for name, seconds in found.items():
        print(f"| {name} | {stages[name]} | {statistics.median(seconds):.0f} |")
    over = ratio(found["shared"], found["by itself"])
    print(f"shared / by itself: {over:.2f} of the seconds, {stages['shared'] / stages['by itself']:.2f} of the stages")
    keep(options, {"seconds": found, "stages": stages})


if __name__ == "__main__":
    main()

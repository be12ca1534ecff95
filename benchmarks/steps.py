"""A training step of the harness beside a loop written by hand and beside Avalanche's own, in turns.

python benchmarks/steps.py --image-size 256 --batch-size 4
"""

from __future__ import annotations

import itertools
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from avalanche.core import SupervisedPlugin
from avalanche.training.plugins import EvaluationPlugin, ReplayPlugin
from pairs import arguments, interleaved, keep, ratio, timed
from stock import StockLwF, epoch_seconds
from torch import Tensor
from torch.utils.data import DataLoader

from cl_bench.config.presets import load_experiment
from cl_bench.config.schema import Augment, Experiment
from cl_bench.kinds.base import Distill, Task
from cl_bench.model.backbone import load_weights
from cl_bench.model.trial import try_experiment
from cl_bench.model.unified import UnifiedModel, frozen_copy
from cl_bench.plugins.composition import parse
from cl_bench.results.store.store import Store
from cl_bench.stages.plan import make_plan
from cl_bench.stages.trainer import Trainer
from cl_bench.tasks.catalog import load_catalog
from cl_bench.tasks.dataset import TaskDataset, collate
from cl_bench.training.evaluation import StreamMetrics
from cl_bench.training.flop_meter import FlopMeter
from cl_bench.training.harness import Harness
from cl_bench.training.stream import make_benchmark
from cl_bench.training.teachers import Ancestor
from cl_bench.utils.machine import keep_memory, peak_memory_mb, processor, reset_peak_memory, set_up_numerics

TASKS = ("seg", "det", "cls")
STORED = 10
CASES = (("naive", 0), ("naive", 1), ("naive", 2), ("kd", 1), ("kd", 2), ("kd+replay", 1), ("kd+replay", 2))
"""Strategies and numbers of past tasks."""
STOCK = {"naive": "naive", "kd": "LwF", "replay": "Replay", "kd+replay": "LwF+Replay"}
"""Strategy -> what Avalanche has of the kind."""
ONCE = "one pass for all tasks"
WAYS = ("avalanche", ONCE)


@dataclass(frozen=True, eq=False)
class Bench:
    """One stage of quickstart's stream, `past` tasks in; a new model each time it is asked for."""

    experiment: Experiment
    trainer: Trainer
    strategy: str
    past: int

    @property
    def learnt(self) -> tuple[str, ...]:
        """The names of the past tasks and, last, of the one at hand."""
        return self.experiment.resolved_orders()[0][: self.past + 1]

    @cached_property
    def data(self) -> list[TaskDataset]:
        """The training images of these tasks."""
        return [self.trainer.datasets(name, 0)[0] for name in self.learnt]

    def model(self) -> UnifiedModel:
        """Return a model with initial weights."""
        return self.trainer.untrained(0)

    def by_harness(self) -> float:
        """Return the seconds of one epoch of the harness, evaluation left out."""
        return self._trained().log[-1]["seconds"]

    def operations(self) -> float:
        """Return the floating-point operations of the last epoch."""
        meter, starts, watch = FlopMeter(), list[float](), SupervisedPlugin()
        watch.before_training_epoch = lambda *_, **__: starts.append(meter.total)
        self._trained(watch, meter=meter)
        return meter.total - starts[-1]

    def in_turns(self, beside: Bench) -> dict[str, list[float]]:
        """Return the seconds of the last epoch's steps by the harness and of as many of `beside` by hand, in turns.

        The first is left out: there the harness, in its first epoch, asks the model what each output depends on, and
        whoever has run less takes new memory. The second, now the first, is the one whose operations are counted.
        """
        before = (self.experiment.epochs - 1) * -(-len(self.data[-1]) // self.experiment.batch_size)
        turns = Turns(itertools.chain(itertools.repeat(0.0, before), beside.by_hand()))
        self._trained(turns)
        return {"harness": turns.harness[before + 1 :], "by hand": turns.by_hand[before + 1 :]}

    def scoring(self) -> tuple[Callable[[], float], Callable[[], float]]:
        """Return what times an evaluation of the task at hand by the harness, and what times its forward passes."""
        harness = self._trained()
        (experience,) = harness.seen
        dataset, size = self.trainer.datasets(self.learnt[-1], 0)[1], self.experiment.evaluation_batch

        def by_harness() -> float:
            return timed(lambda: harness.eval([experience]))

        @torch.inference_mode()
        def alone() -> None:
            label = dataset.task.index
            harness.model.eval()
            for start in range(0, len(dataset), size):
                samples = [(*dataset[i], label) for i in range(start, min(start + size, len(dataset)))]
                images, _, labels = collate(samples)
                harness.model(images, labels)

        return by_harness, lambda: timed(alone)

    def _trained(self, *watching: SupervisedPlugin, meter: FlopMeter | None = None) -> Harness:
        """Return a harness that has trained the stage; it scores the task at hand."""
        experiment = self.experiment.model_copy(update={"strategies": (self.strategy,)})
        plan = make_plan(experiment, self.trainer.catalog, self.trainer.weights)
        settings = self.trainer.settings(plan.stages[plan.runs[0].stages[self.past]])
        model, entries = self.model(), self.trainer.entries
        found = {name: value.clone() for name, value in model.state_dict().items()}
        metrics = StreamMetrics(tuple(e.task for e in entries.values()), {n: e.audit.val for n, e in entries.items()})
        meter = meter or FlopMeter()  # as stages have it; it slows a step
        harness = Harness(
            model=model,
            settings=settings,
            plugins=[meter, *(plugin for term in parse(self.strategy).terms for plugin in term.build()), *watching],
            evaluator=_evaluator(metrics),
            initial=lambda: found,
        )
        *past, current = self.data
        ancestors = [Ancestor((dataset,), lambda: found) for dataset in past]
        benchmark = make_benchmark([[current]], [self.trainer.datasets(self.learnt[-1], 0)[1]])
        with meter.stage(0.0):
            harness.train_stage(benchmark.train_stream[0], settings, [current], ancestors, benchmark.test_stream)
        return harness

    def batches(self) -> Iterator[tuple[Tensor, Any]]:
        """Return one epoch's (images, targets), as a plain DataLoader gives them."""
        dataset = self.data[-1]
        label = dataset.task.index
        loader = DataLoader(
            dataset,
            self.experiment.batch_size,
            shuffle=True,
            collate_fn=lambda samples: collate([(*sample, label) for sample in samples]),
        )
        return ((images, targets) for images, targets, _ in loader)

    def by_hand(self) -> Iterator[float]:
        """Return one epoch of a plain loop that does the same arithmetic, as the seconds of its steps."""
        model = self.model().train()
        teacher = frozen_copy(model) if "kd" in self.strategy and self.past else None
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-4, fused=True)
        current, *_ = reversed(self.data)
        past = [dataset.task for dataset in self.data[:-1]]
        memories = itertools.cycle([_endless(d, self.experiment.batch_size) for d in self.data[:-1]])
        batches = self.batches()

        def step() -> None:
            images, targets = next(batches)
            count, memory = len(images), next(memories) if "replay" in self.strategy and past else None
            if memory is not None:
                task, (more, labels, _) = next(memory)
                images = torch.cat([images, more])
            features = model.features(images)
            loss = _loss(model, model.raw(features, current.task, slice(0, count)), current.task, targets)  # type: ignore[arg-type]
            if memory is not None:
                loss = loss + _loss(model, model.raw(features, task, slice(count, None)), task, labels)  # type: ignore[arg-type]
            if teacher is not None:
                with torch.no_grad():
                    taught = teacher.features(images)
                for one in past:
                    with torch.no_grad():
                        wanted = teacher.raw(taught, one)
                    loss = loss + one.kind.distillation(one, model.raw(features, one), wanted, Distill())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        return (timed(step) for _ in range(-(-len(current) // self.experiment.batch_size)))


class Turns(SupervisedPlugin):
    """Takes a step of another loop after each of the harness's, so that a slow while of the machine is both's."""

    def __init__(self, steps: Iterator[float]) -> None:
        super().__init__()
        self.steps = steps
        self.harness: list[float] = []
        self.by_hand: list[float] = []
        self.began = 0.0

    def before_training_epoch(self, strategy: Any, **_: Any) -> None:
        """Start the clock."""
        self.began = time.perf_counter()

    def after_training_iteration(self, strategy: Any, **_: Any) -> None:
        """Note the harness's step, loading its batch included, and take the other loop's."""
        self.harness.append(time.perf_counter() - self.began)
        self.by_hand.append(next(self.steps))
        self.began = time.perf_counter()


def ratios(turns: dict[str, list[float]]) -> list[float]:
    """Return each step of the harness over the one by hand that was next to it."""
    return [a / b for a, b in zip(turns["harness"], turns["by hand"], strict=True)]


def _evaluator(*metrics: Any) -> EvaluationPlugin:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No loggers specified")
        return EvaluationPlugin(*metrics, loggers=[])


def _loss(model: UnifiedModel, raw: Tensor, task: Task, targets: Any) -> Tensor:
    return task.kind.loss(task, model.finish(raw, task), targets)


def _endless(dataset: TaskDataset, size: int) -> Iterator[tuple[Task, list[Any]]]:
    """Give batches of a memory of STORED images again and again."""
    for start in itertools.count(0, size):
        chosen = [(start + i) % STORED for i in range(size)]
        yield dataset.task, collate([(*dataset.read(i, start, among=chosen), dataset.task.index) for i in chosen])


def by_stock(bench: Bench, stock: str, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of an epoch in every round, of the harness and of Avalanche's own plug-ins."""
    tasks, size = [dataset.task for dataset in bench.data], bench.experiment.batch_size
    plugins: dict[str, Callable[[], Any]] = {
        "naive": SupervisedPlugin,
        "LwF": lambda: StockLwF(tasks),
        "Replay": lambda: ReplayPlugin(STORED * bench.past, batch_size_mem=size),
    }

    def by_avalanche(once: bool) -> float:
        made = [plugins[name]() for name in stock.split("+")]
        return epoch_seconds(bench.model(), bench.data, size, made, once)

    ways = {way: partial(by_avalanche, way == ONCE) for way in WAYS if way != ONCE or "LwF" in stock}
    return interleaved({"harness": bench.by_harness, **ways}, rounds)


def tell_training(experiment: Experiment, trainer: Trainer, steps: int, rounds: int) -> dict[str, Any]:
    """Print a line a case; return the seconds of every step in every round, and the peak memory of a case in MB.

    A ratio is of two steps that were taken one after the other, and the median is over all of an epoch but its first.
    """
    print("| strategy | past tasks | harness ms | by hand ms | harness / by hand | quartiles | counted step |", end="")
    print(f" peak MB of both |\n|---|{'--:|' * 7}")
    found: dict[str, Any] = {}
    for strategy, past in CASES:
        reset_peak_memory("cpu")
        bench = Bench(experiment, trainer, strategy, past)
        turns = [bench.in_turns(bench) for _ in range(rounds + 1)][1:]  # the first warms up
        each = [ratios(one) for one in turns]
        found[f"{strategy} {past}"] = {"rounds": turns, "peak_memory_mb": (peak := peak_memory_mb("cpu"))}
        cells = [f"{1000 * statistics.median(s for one in turns for s in one[way]):.1f}" for way in turns[0]]
        low, middle, high = statistics.quantiles(itertools.chain(*each), n=4)
        cells += [f"{middle:.3f}", f"{low:.3f}, {high:.3f}", f"{statistics.median(one[0] for one in each):.2f}"]
        print(f"| {strategy} | {past} | {' | '.join(cells)} | {peak:.0f} |", flush=True)
    return found


def tell_stock(experiment: Experiment, trainer: Trainer, steps: int, rounds: int) -> dict[str, Any]:
    """Print a line a strategy that Avalanche has, too; return the seconds of every round."""
    print(f"| strategy, 2 past tasks | harness ms | Avalanche's | / harness | with {ONCE} |\n|---|--:|---|--:|--:|")
    found = {}
    for strategy, stock in STOCK.items():
        seconds = found[strategy] = by_stock(Bench(experiment, trainer, strategy, 2), stock, rounds)
        over = [f"{ratio(seconds[way], seconds['harness']):.2f}" if way in seconds else "" for way in WAYS]
        middle = 1000 * statistics.median(seconds["harness"]) / steps
        print(f"| {strategy} | {middle:.1f} | {stock} | {' | '.join(over)} |", flush=True)
    return found


def tell_teachers(experiment: Experiment, trainer: Trainer, steps: int, rounds: int) -> dict[str, Any]:
    """Print what teachers cost with two past tasks, run in every step or once an image; return the steps' seconds.

    Images are not augmented, and the epoch that counts is the second: the cache has been filled by then. There
    every case takes turns with naive by hand, after every step, which is the scale that they have in common.
    """
    benches = {}
    for strategy, cached in (("naive", False), ("kd", False), ("kd", True), ("kd+replay", False), ("kd+replay", True)):
        changed = experiment.model_copy(update={"augment": Augment(), "epochs": 2, "teacher_cache": cached})
        benches[f"{strategy}{', cached' * cached}"] = Bench(
            changed, replace(trainer, experiment=changed, catalog=load_catalog(changed)), strategy, 2
        )
    turns = interleaved({name: partial(bench.in_turns, benches["naive"]) for name, bench in benches.items()}, rounds)
    scale = {name: statistics.median(itertools.chain(*map(ratios, found))) for name, found in turns.items()}
    operations = {name: bench.operations() for name, bench in benches.items()}
    print("| strategy, 2 past tasks | ms | / naive | by round | counted operations / naive's |\n|---|--:|--:|--:|--:|")
    for name, found in turns.items():
        pairs = zip(found, turns["naive"], strict=True)
        rounded = sorted(statistics.median(ratios(one)) / statistics.median(ratios(plain)) for one, plain in pairs)
        cells = f"{1000 * statistics.median(s for one in found for s in one['harness']):.1f}"
        cells += f" | {scale[name] / scale['naive']:.3f} | {rounded[0]:.2f} to {rounded[-1]:.2f}"
        print(f"| {name} | {cells} | {operations[name] / operations['naive']:.3f} |")
    return {"rounds": turns, "operations": operations}


def tell_scoring(experiment: Experiment, trainer: Trainer, steps: int, rounds: int) -> dict[str, Any]:
    """Print a line a task; return the seconds of every round."""
    print("| evaluation of | harness s | forward alone s | ratio |\n|---|--:|--:|--:|")
    found = {}
    for past, name in enumerate(experiment.resolved_orders()[0]):
        harness, alone = Bench(experiment, trainer, "naive", past).scoring()
        seconds = found[name] = interleaved({"harness": harness, "forward": alone}, rounds)
        middle = {way: statistics.median(times) for way, times in seconds.items()}
        over = ratio(seconds["harness"], seconds["forward"])
        print(f"| {name} | {middle['harness']:.2f} | {middle['forward']:.2f} | {over:.3f} |")
    return found


# Each is told how many `steps` an epoch has, by which only whole epochs are divided.
TABLES = {"training": tell_training, "avalanche": tell_stock, "teachers": tell_teachers, "evaluation": tell_scoring}


def main() -> None:
    """Print the tables, and keep all rounds as JSON where a file is named."""
    parser = arguments(__doc__, rounds=7)
    parser.add_argument("--image-size", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--order", default=">".join(TASKS), help="of all three tasks; the last is at hand")
    parser.add_argument("--only", choices=TABLES, nargs="*", default=list(TABLES), help="which tables; all by default")
    options = parser.parse_args()
    changes = {"image_size": options.image_size, "batch_size": options.batch_size, "epochs": 1, "seeds": [0]}
    changes |= {f"tasks.{name}.data.train": options.images for name in TASKS}
    changes["orders"] = options.order
    experiment = load_experiment("quickstart", changes=changes)
    set_up_numerics(options.threads)
    keep_memory()
    weights = load_weights(experiment.model.backbone, experiment.model.weights, try_experiment(experiment))
    trainer = Trainer(experiment, load_catalog(experiment), weights, Store(Path("unused"), writable=False))
    print(f"{processor()}, {options.threads} threads, {options.image_size} px, batch {options.batch_size}")
    steps = -(-options.images // options.batch_size)
    found = {name: TABLES[name](experiment, trainer, steps, options.rounds) for name in options.only}
    keep(options, found)


if __name__ == "__main__":
    main()

"""Strategies with memories against the formulas of their papers, written out here, and against Avalanche's plug-ins.

What a model says in training mode is that of a copy of it, whose batch norm may move.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from avalanche.training.plugins import AGEMPlugin, GEMPlugin
from conftest import Spy
from torch import Tensor

from cl_bench.kinds.base import Task
from cl_bench.model.unified import UnifiedModel
from cl_bench.runner.prepare import prepare
from cl_bench.stages.trainer import Trainer
from cl_bench.strategies.agem import PastGradients, project
from cl_bench.strategies.der import DarkReplay, Trajectory
from cl_bench.strategies.er import ClassBalanced, Reservoir
from cl_bench.strategies.fdr import FunctionReplay
from cl_bench.strategies.gem import projection
from cl_bench.strategies.replay import Memory, Replay
from cl_bench.tasks.dataset import collate
from cl_bench.training.harness import Harness

ROUNDING = {"rtol": 1e-4, "atol": 1e-6}
Run = Callable[..., None]


@pytest.fixture
def run(results: Path, tiny: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that trains all stages of an order with a spy behind the strategy's plug-ins."""

    def train(strategy: str, spy: Spy, order: Sequence[str] = ("seg", "det"), **changes: Any) -> None:
        prepared = prepare(tiny(orders=[list(order)], **changes), strategies=[strategy])
        trainer = Trainer(prepared.experiment, prepared.catalog, prepared.weights, prepared.store, (spy,))
        plan = prepared.plan
        for unit in dict.fromkeys(plan.stages[key].chain or (key,) for key in plan.runs[0].stages):
            trainer.train(plan, unit)

    return train


def plugin_of(strategy: Harness, kind: type) -> Any:
    return next(plugin for plugin in strategy.plugins if isinstance(plugin, kind))


def said(model: UnifiedModel, images: Tensor, task: Task, training: bool = True) -> Tensor:
    """The raw output of a copy of the model."""
    twin = copy.deepcopy(model).train(training)
    return twin.raw(twin.features(images), task)


def task_loss(strategy: Harness, images: Tensor, targets: Any, index: int, model: UnifiedModel) -> Tensor:
    task = strategy.model.tasks[index]
    return task.kind.loss(task, model.finish(model.raw(model.features(images), task), task), targets)


class AgainstMemories(Spy):
    """Gives a plug-in that projects a random gradient each step, and keeps what it made of it.

    tasks: whose memory batches are looked at, None: that whose turn it is; found: (gradient (n,), gradients of
    their memory batches (tasks, n), what the plug-in left (n,)).
    """

    def __init__(self, tasks: Sequence[int | None] = (0, 1)) -> None:
        super().__init__()
        self.tasks = tasks
        self.found: list[tuple[Tensor, Tensor, Tensor]] = []

    def before_training_exp(self, strategy: Harness, **_: Any) -> None:
        if len(strategy.past) == 2:
            plugin = plugin_of(strategy, PastGradients)
            plugin.before_update = self.around(plugin, plugin.before_update)

    def around(self, plugin: PastGradients, change: Callable[..., None]) -> Callable[..., None]:
        def changed(strategy: Harness, **_: Any) -> None:
            shared = {name: p for name, p in strategy.learnt_parameters().items() if p.grad is not None}
            generator = torch.Generator().manual_seed(strategy.step)
            for p in shared.values():
                p.grad = torch.randn(p.shape, generator=generator)
            gradient = torch.cat([p.grad.flatten() for p in shared.values()])  # type: ignore[union-attr]
            past = torch.stack([self.gradient(plugin, strategy, which, list(shared)) for which in self.tasks])
            change(strategy)
            left = torch.cat([p.grad.flatten() for p in shared.values()])  # type: ignore[union-attr]
            self.found.append((gradient, past, left))

        return changed

    @staticmethod
    def gradient(plugin: PastGradients, strategy: Harness, which: int | None, names: Sequence[str]) -> Tensor:
        images, targets, labels = collate(plugin.memory.batch(strategy, which))
        assert which in (None, int(labels[0])), "tasks are numbered in the order they were learnt in"
        twin = copy.deepcopy(strategy.model).train()
        parameters = [dict(twin.named_parameters())[name] for name in names]
        loss = task_loss(strategy, images, targets, int(labels[0]), twin)
        found = torch.autograd.grad(loss, parameters, allow_unused=True)
        pairs = zip(parameters, found, strict=True)
        return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in pairs])


@pytest.mark.parametrize(("strategy", "tasks"), [("agem", (0, 1)), ("agem[method=S-GEM]", (None,))])
def test_agem_projects_against_the_mean_over_all_past_tasks_and_sgem_against_one(
    strategy: str, tasks: Sequence[int | None], run: Run
) -> None:
    # Chaudhry et al. 2019 (arXiv:1812.00420), eq. 10 and 11: g~ = g - g'r / r'r * r where g'r < 0, and g otherwise;
    # r is the gradient of the loss on a batch of the episodic memories of all past tasks; S-GEM: of one task's.
    spy = AgainstMemories(tasks)
    run(strategy, spy, ("seg", "det", "cls"))
    projected = 0
    for g, past, left in spy.found:
        r = sum(past) / len(tasks)
        opposed = bool(g @ r < 0)
        wanted = g - (g @ r) / (r @ r) * r if opposed else g
        torch.testing.assert_close(left, wanted, **ROUNDING)
        projected += opposed
    assert 0 < projected < len(spy.found) == 6


def test_gem_meets_the_conditions_of_its_program_for_all_past_tasks(run: Run) -> None:
    # Lopez-Paz and Ranzato 2017 (arXiv:1706.08840), eq. 11: min 1/2 v'GG'v + g'G'v, g~ = g + G'v; v >= gamma with
    # gamma = .5 as its authors' code has it, which solves it where any G g < 0. Its optimum: with w = GG'v + Gg,
    # v >= gamma, w >= 0 and (v - gamma) w = 0.
    spy = AgainstMemories()
    run("gem", spy, ("seg", "det", "cls"))
    projected = 0
    for g, past, left in spy.found:
        if not bool((past @ g < 0).any()):
            torch.testing.assert_close(left, g, rtol=0, atol=0)
            continue
        projected += 1
        rows = past.double()
        v = torch.linalg.lstsq(rows.T, (left - g).double()).solution
        scale = (rows @ rows.T).diagonal()
        w = rows @ left.double() / scale  # = GG'v + Gg
        assert (v > 0.5 - 1e-3).all()
        assert (w > -1e-3).all()
        assert ((v - 0.5) * w).abs().max() < 1e-3
        torch.testing.assert_close((v @ rows).float(), left - g, rtol=1e-3, atol=1e-5)
    assert projected > 0


@pytest.mark.parametrize("margin", [0.0, 0.5])
def test_gems_projection_is_quadprogs(margin: float) -> None:
    # The authors' code (GradientEpisodicMemory/model/gem.py), which adds 1e-3 to the diagonal of GG', 2e-5 of it here.
    quadprog = pytest.importorskip("quadprog")
    generator = torch.Generator().manual_seed(1)
    for problem in range(100):
        tasks = 1 + problem % 5
        g, past = torch.randn(50, generator=generator), torch.randn(tasks, 50, generator=generator)
        if not bool((past @ g < 0).any()):
            assert not projection(g, past, margin).any()
            continue
        rows = past.double().numpy()
        v = quadprog.solve_qp(rows @ rows.T, -rows @ g.double().numpy(), np.eye(tasks), np.full(tasks, margin))[0]
        torch.testing.assert_close(projection(g, past, margin), torch.from_numpy(v @ rows).float(), **ROUNDING)


class AlongTraining(Spy):
    """Keeps what the model says in training mode of every image as it is trained, and the losses of the next stage."""

    def __init__(self, alpha: float, beta: float) -> None:
        super().__init__()
        self.alpha, self.beta = alpha, beta
        self.outputs: dict[tuple[int, int], Tensor] = {}
        """(image, epoch) of the first stage -> raw output."""
        self.images: dict[tuple[int, int], Tensor] = {}
        self.distances: list[float] = []
        self.stored = Trajectory()
        """What the next stage begins with."""

    def before_training_exp(self, strategy: Harness, **_: Any) -> None:
        if strategy.past:
            self.stored = copy.deepcopy(plugin_of(strategy, DarkReplay).memory.kept["seg"])

    def before_backward(self, strategy: Harness, **_: Any) -> None:
        (self.hold if strategy.past else self.keep)(strategy)

    def keep(self, strategy: Harness) -> None:
        outputs = said(strategy.model, strategy.mb_x, strategy.current[0].task).detach()
        for target, image, output in zip(strategy.mb_y, strategy.mb_x, outputs, strict=True):
            place = int(target["index"]), strategy.epoch
            self.outputs[place], self.images[place] = output, image

    def hold(self, strategy: Harness) -> None:
        memory = plugin_of(strategy, DarkReplay).memory
        views = memory.kept["seg"].views
        assert {visit for _, visit, _ in views} == {0}
        assert {epoch for *_, epoch in views} == {0, 1}, "of outputs of one epoch nothing shows when they were stored"
        drawn = [(views[place][0], views[place][2]) for place, _ in memory.places(strategy)[1]]
        z = torch.stack([self.outputs[place] for place in drawn])
        h = said(strategy.model, torch.stack([self.images[place] for place in drawn]), strategy.past[0].task)
        distance = (h - z).square().mean()
        labels = strategy.mb_task_id.tolist()
        assert labels == [1] * 4 + [0] * 4 * (self.beta > 0)
        losses = {
            index: strategy.model.tasks[index].kind.loss(
                strategy.model.tasks[index], output, [strategy.mb_y[i] for i in where.tolist()]
            )
            for index, (where, output) in strategy.mb_output.items()
        }
        wanted = losses[1] + self.alpha * distance + (self.beta * losses[0] if self.beta else 0)
        assert float(strategy.loss.detach()) == pytest.approx(float(wanted.detach()), rel=1e-5)
        self.distances.append(float(distance.detach()))


@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 0.0), (2.0, 0.5)])
def test_der_holds_images_to_what_was_said_of_them_as_they_were_trained(alpha: float, beta: float, run: Run) -> None:
    # Buzzega et al. 2020 (arXiv:2004.07211), eq. 4 and 6, algorithms 1 and 2: L + alpha E[||z - h(x)||^2] over (x, z)
    # in the memory + beta E[l(y, f(x))] over another draw; z: the logits of the step in which x came in. As in its
    # authors' code the squared norm is a mean over logits, and the network is in training mode in all of it.
    spy = AlongTraining(alpha, beta)
    run(f"der[memory=5,alpha={alpha},beta={beta}]", spy)
    assert len(spy.distances) == 6
    assert min(spy.distances) > 1e-4


def test_ders_stored_outputs_are_those_of_training_and_come_with_their_images(run: Run) -> None:
    spy = AlongTraining(0.5, 0.0)
    run("der[memory=7]", spy)
    seg = spy.stored
    assert (len(seg.views), len(seg.outputs), seg.passed) == (7, 7, 24)
    for (index, _, epoch), output in zip(seg.views, seg.outputs, strict=True):
        torch.testing.assert_close(output, spy.outputs[index, epoch], **ROUNDING)


def test_ders_reservoir_keeps_all_that_came_by_alike() -> None:
    # Vitter 1985, algorithm R, as algorithm 3 of arXiv:2004.07211: of N images each is kept with probability size / N.
    counts = np.zeros(40)
    for seed in range(1000):
        kept = Trajectory()
        for index in range(40):
            place = kept.place(5, seed)
            if place is not None:
                kept.put(place, (index, 0, 0), torch.zeros(1))
        assert len(kept.views) == 5
        counts[[index for index, *_ in kept.views]] += 1
    assert counts.sum() == 5000
    assert np.abs(counts - 125).max() < 5 * np.sqrt(125 * (1 - 1 / 8))


def test_fdr_holds_images_to_what_was_said_of_them_at_the_end(run: Run) -> None:
    # Benjamin et al. 2019 (arXiv:1805.08289): the distance of what the network says of stored images to what it said
    # at the end of their task; here a mean of squares of raw outputs, with labels.
    losses: list[float] = []

    class Watch(Spy):
        def before_backward(self, strategy: Harness, **_: Any) -> None:
            if not strategy.past:
                return
            (past,) = strategy.past
            parent = copy.deepcopy(strategy.model)
            parent.load_state_dict(strategy.ancestors[0].weights())
            drawn = plugin_of(strategy, FunctionReplay).memory.draw(strategy)[1]
            images = torch.stack([past.plain[index][0] for index, _ in drawn])
            z = said(parent, images, past.task, training=False)
            h = said(strategy.model, strategy.mb_x, past.task)[4:]
            parts = strategy._criterion.parts
            wanted = parts[1] + 2.0 * (h - z).square().mean() + 0.5 * parts[0]
            assert float(strategy.loss.detach()) == pytest.approx(float(wanted.detach()), rel=1e-5)
            losses.append(float((h - z).square().mean().detach()))

    run("fdr[memory=5,alpha=2.0,beta=0.5]", Watch())
    assert len(losses) == 6
    assert min(losses) > 1e-4


class Rehearsed(Spy):
    """Holds the loss of steps with stored images to the new ones' mean + weight * the stored ones' mean."""

    def __init__(self, weight: float, memory: Callable[[int], Memory] | None) -> None:
        super().__init__()
        self.weight, self.memory, self.steps = weight, memory, 0

    def before_backward(self, strategy: Harness, **_: Any) -> None:
        if not strategy.past:
            return
        if self.memory is not None:
            other = self.memory(5)
            other.remember(strategy)
            assert plugin_of(strategy, Replay).memory.stored == other.stored
        assert strategy.mb_task_id.tolist() == [1] * 4 + [0] * 4
        twin = copy.deepcopy(strategy.model).train()
        features = twin.features(strategy.mb_x)  # together, as the paper's batches are
        new, stored = (
            task.kind.loss(task, twin.finish(twin.raw(features, task, torch.tensor(where)), task), strategy.mb_y[part])
            for task, where, part in (
                (strategy.model.tasks[1], [0, 1, 2, 3], slice(0, 4)),
                (strategy.model.tasks[0], [4, 5, 6, 7], slice(4, 8)),
            )
        )
        wanted = float((new + self.weight * stored).detach())
        assert float(strategy.loss.detach()) == pytest.approx(wanted, rel=1e-5)
        self.steps += 1


@pytest.mark.parametrize(
    ("strategy", "memory"),
    [("replay", Memory), ("er", ClassBalanced), ("er[choose=reservoir]", Reservoir)],
)
def test_er_adds_a_batch_of_stored_images(strategy: str, memory: Callable[[int], Memory], run: Run) -> None:
    # Chaudhry et al. 2019 (arXiv:1902.10486), algorithm 1: one step on the batch and a batch of the memory, of equal
    # size, together. Their mean over both is half the sum here, in which every task counts 1.
    spy = Rehearsed(0.5, memory)
    run(strategy.replace("]", ",memory=5,weight=0.5]") if "[" in strategy else f"{strategy}[memory=5,weight=0.5]", spy)
    assert spy.steps == 6


def test_avalanches_replay_has_the_loss_of_ours(run: Run) -> None:
    # ReplayPlugin takes its stored images at the end of a stage from the global random stream, so that they are other
    # ones; what it does with them is the same.
    spy = Rehearsed(1.0, None)
    run("avalanche.training.plugins.ReplayPlugin[mem_size=8]", spy)
    assert spy.steps == 6


def test_agems_projection_is_avalanches() -> None:
    # AGEMPlugin differs in where r comes from: a batch shared out among past tasks, whose criterion is summed over
    # tasks here, and which moves batch-norm statistics; and in taking all parameters, not those past tasks depend on.
    torch.manual_seed(0)
    signs = set()
    for _ in range(8):
        theirs = torch.nn.Linear(6, 4)
        ours, reference = [], []
        for p in theirs.parameters():
            p.grad = torch.randn_like(p)
            ours.append(p.grad.clone())
            reference.append(torch.randn_like(p))
        plugin = AGEMPlugin(patterns_per_experience=1, sample_size=1)
        plugin.buffers = [None]  # it asks for no more than that there is one
        plugin.reference_gradients = torch.cat([r.flatten() for r in reference])
        signs.add(bool(sum((g * r).sum() for g, r in zip(ours, reference, strict=True)) < 0))
        plugin.after_backward(SimpleNamespace(model=theirs))
        project(list(zip(ours, reference, strict=True)))
        for p, g in zip(theirs.parameters(), ours, strict=True):
            torch.testing.assert_close(g, p.grad, **ROUNDING)
    assert signs == {True, False}


@pytest.mark.parametrize("margin", [0.0, 0.5])
def test_gems_projection_is_avalanches(margin: float) -> None:
    # GEMPlugin adds 1e-3 to the diagonal of GG' (about 50 here), ours 1e-9 of its trace: hence 1e-3.
    pytest.importorskip("quadprog")
    generator = torch.Generator().manual_seed(2)
    for tasks in (1, 2, 5) * 5:
        g = torch.randn(50, generator=generator)
        past = torch.randn(tasks, 50, generator=generator) - 0.2 * g
        plugin = GEMPlugin(patterns_per_experience=1, memory_strength=margin)
        plugin.G = past
        torch.testing.assert_close(g + projection(g, past, margin), plugin.solve_quadprog(g), rtol=1e-3, atol=1e-3)

"""Each method that projects gradients against its paper's formula, written out here, on the gradients of real steps.

What a model says in training mode is that of a copy of it, whose batch norm may move.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Run
from fidelity import fidelity
from small import ROUNDING, plugin_of, task_loss
from spy import Spy
from torch import Tensor

from cl_bench.strategies.agem import PastGradients
from cl_bench.strategies.gem import projection
from cl_bench.tasks.dataset import collate
from cl_bench.training.harness import Harness


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


@fidelity("agem[method=S-GEM]", "1812.00420", "(11), r of one past task", "tasks in turn, not at random")
@fidelity("agem", "1812.00420", "(10), (11)", "r is the mean over one batch a task; of what past tasks depend on")
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


@fidelity("gem", "1706.08840", "(11), (12), gamma = 0.5", "gradients of memory batches, not of whole memories")
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
        assert ((v - 0.5) * w).abs().max() < 1e-3 * max(1.0, float(v.max())), "v is as exact as float32 lets it be"
        torch.testing.assert_close((v @ rows).float(), left - g, rtol=1e-3, atol=1e-5)
    assert projected > 0


@fidelity("gem", "1706.08840", "(11), (12), as the authors' code solves it")
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

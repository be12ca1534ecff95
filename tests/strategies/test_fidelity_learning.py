"""Each method that changes how a stage learns against its paper's formula, written out here."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import Run
from fidelity import fidelity
from small import EXACT, ROUNDING, Net, hinton, plugin, plugin_of, stage, task_loss
from spy import Spy
from torch import Tensor

from cl_bench.strategies.cagrad import share
from cl_bench.strategies.layer_merging import Merge
from cl_bench.strategies.pcgrad import SeparateGradient
from cl_bench.strategies.sam import SharpnessAware
from cl_bench.training.harness import Harness

pytestmark = pytest.mark.usefixtures("seeded")


@fidelity("lp_ft", "2202.10054", "section 4: linear probing, then fine-tuning from it", "an epoch of the stage's")
def test_lp_ft_trains_the_new_predictor_alone_and_then_all(second_stage: Callable[..., Spy]) -> None:
    moved: list[set[str]] = []

    class Watch(Spy):
        def before_training_exp(self, strategy: Harness, **_: Any) -> None:
            self.start = {name: value.clone() for name, value in strategy.model.state_dict().items()}

        def after_training_epoch(self, strategy: Harness, **_: Any) -> None:
            now = strategy.model.state_dict()
            moved.append({name for name, value in now.items() if not torch.equal(value, self.start[name])})

    second_stage("lp_ft", Watch())
    probe, tuned = moved
    assert probe
    assert all(name.startswith("predictors.det.") for name in probe)
    assert any(name.startswith("backbone.") for name in tuned)


@fidelity("pcgrad", "2001.06782", "algorithm 1, of two tasks", "the parent's outputs stand for all past tasks")
@pytest.mark.parametrize("seed", range(4))
def test_pcgrad_adds_gradients_of_which_each_was_projected_off_the_other(seed: int) -> None:
    """Yu et al. 2020 (arXiv:2001.06782), algorithm 1: g_i - g_i'g_j / |g_j|^2 * g_j where g_i'g_j < 0."""
    draw = torch.Generator().manual_seed(seed)
    w, lone = (torch.nn.Parameter(torch.zeros(6)) for _ in range(2))
    task, past, elsewhere = (torch.randn(6, generator=draw) for _ in range(3))
    pcgrad = plugin("pcgrad")
    pcgrad._asked = [(w, past.clone()), (lone, elsewhere.clone())]
    w.grad = task.clone()
    pcgrad.before_update(SimpleNamespace())
    one, other = task.clone(), past.clone()
    if task @ past < 0:
        one = task - (task @ past) / (past @ past) * past
        other = past - (task @ past) / (task @ task) * task
    torch.testing.assert_close(w.grad, one + other, **EXACT)
    torch.testing.assert_close(lone.grad, elsewhere, rtol=0, atol=0)


@fidelity("cagrad", "2110.14048", "(2), (3), of two tasks", "twice the step, as gradients are added, not averaged")
@pytest.mark.parametrize("c", [0.0, 0.4, 0.9])
@pytest.mark.parametrize("seed", range(6))
def test_cagrad_helps_whichever_of_the_two_gains_least(seed: int, c: float) -> None:
    """Liu et al. 2021 (arXiv:2110.14048), (2): the greatest least g_i'd within c |g0| of g0, which is (3)."""
    draw = torch.Generator().manual_seed(seed)
    task, past = torch.randn(5, generator=draw), torch.randn(5, generator=draw) * 3 ** (seed % 3 - 1)
    w = torch.nn.Parameter(torch.zeros(5))
    cagrad = plugin(f"cagrad[c={c}]")
    cagrad._asked = [(w, past.clone())]
    w.grad = task.clone()
    cagrad.before_update(SimpleNamespace())
    found, mean = w.grad / 2, (task + past) / 2
    assert (found - mean).norm() <= c * mean.norm() * (1 + 1e-5)
    shares = torch.linspace(0, 1, 100_001)[:, None]
    mixed = shares * task + (1 - shares) * past
    dual = (mixed @ mean + c * mean.norm() * mixed.norm(dim=1)).min()
    assert float(torch.minimum(found @ task, found @ past)) == pytest.approx(float(dual), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(
    ("products", "expected"), [((1, 1, 1), None), ((1, 0, 1), 0.5), ((4, 0, 0), 0), ((0, 0, 4), 1), ((1, 0.5, 100), 1)]
)
def test_the_share_of_the_task_where_it_is_known(products: tuple[float, ...], expected: float | None) -> None:
    w = share(*products, 0.4)
    assert w == expected if expected is not None else 0 <= w <= 1


@fidelity("cagrad", "1503.02531", "section 2: the term whose gradient is joined")
@fidelity("pcgrad", "1503.02531", "section 2: the term whose gradient is projected")
@pytest.mark.parametrize("strategy", ["pcgrad", "cagrad"])
def test_what_is_joined_is_the_gradient_of_the_distillation_alone(
    strategy: str, second_stage: Callable[..., Spy]
) -> None:
    steps = []

    class Watch(Spy):
        def before_training_exp(self, strategy: Harness, **_: Any) -> None:
            self.teacher = strategy.ancestors[-1].model(strategy.model).eval()

        def after_backward(self, strategy: Harness, **_: Any) -> None:
            asked = {id(p): gradient for p, gradient in plugin_of(strategy, SeparateGradient)._asked}
            ((images, _),) = strategy.passes
            (past,) = strategy.past_tasks
            twin = copy.deepcopy(strategy.model).train()
            with torch.no_grad():
                wanted = self.teacher.raw(self.teacher.features(images), past)
            term = hinton(twin.raw(twin.features(images), past), wanted)
            learnt = dict(twin.named_parameters())
            found = torch.autograd.grad(term, list(learnt.values()), allow_unused=True)
            for (name, _), gradient in zip(learnt.items(), found, strict=True):
                own = asked.get(id(dict(strategy.model.named_parameters())[name]))
                assert (own is None) == (gradient is None), name
                if gradient is not None:
                    torch.testing.assert_close(own, gradient, rtol=1e-3, atol=1e-6)
            task_parts = sum(map(float, strategy._criterion.parts.values()))
            assert float(strategy.loss.detach()) == pytest.approx(task_parts, rel=1e-6), "the loss is without the term"
            steps.append(1)

    second_stage(strategy, Watch(), ("cls", "det"))
    assert len(steps) == 6


@fidelity(
    "sam", "2010.01412", "(2), algorithm 1: the gradient rho further along g", "batch norm moves by the first pass"
)
@pytest.mark.parametrize("text", ["sam", "sam[radius=0.2]"])
def test_sam_steps_along_the_gradient_at_the_worst_point_nearby(text: str, run: Run) -> None:
    """Foret et al. 2021 (arXiv:2010.01412), equation (2) with p = 2, and algorithm 1."""
    radius = 0.2 if "0.2" in text else 0.05
    steps = []

    class Watch(Spy):
        def before_training_exp(self, strategy: Harness, **_: Any) -> None:
            if not steps:
                sam = plugin_of(strategy, SharpnessAware)
                sam.before_update = self.around(sam.before_update)

        def around(self, change: Callable[..., None]) -> Callable[..., None]:
            def changed(strategy: Harness, **_: Any) -> None:
                before = {name: p.detach().clone() for name, p in strategy.model.named_parameters()}
                wanted = self.nearby(strategy)
                change(strategy)
                for name, p in strategy.model.named_parameters():
                    assert torch.equal(p, before[name]), "the weights are where they were"
                    if name in wanted:
                        torch.testing.assert_close(p.grad, wanted[name], **ROUNDING)
                steps.append(1)

            return changed

        @staticmethod
        def nearby(strategy: Harness) -> dict[str, Tensor]:
            twin = copy.deepcopy(strategy.model).train()
            own = {name: p.grad for name, p in strategy.model.named_parameters() if p.grad is not None}
            norm = torch.stack([g.square().sum() for g in own.values()]).sum().sqrt()
            learnt = dict(twin.named_parameters())
            with torch.no_grad():
                for name, g in own.items():
                    learnt[name] += radius * g / norm
            (index,) = set(strategy.mb_task_id.tolist())
            task_loss(strategy, strategy.mb_x, strategy.mb_y, index, twin).backward()
            return {name: learnt[name].grad for name in own}

    run(text, Watch(), ("seg", "cls"))
    assert len(steps) > 4


def merge() -> tuple[Merge, Net, Net, Net]:
    initial, parent, expert = Net(), Net(), Net()
    at_hand: Any = stage(Net(), ["an ancestor"], initial=initial.state_dict)
    return Merge(at_hand, parent, expert), initial, parent, expert  # type: ignore[arg-type] # which have what it reads


@fidelity("layer_merging", "2310.02575", "(5), layer-wise, of the parent and one task", "shares learnt by imitation")
def test_layer_merging_adds_a_share_of_the_way_of_each_layer() -> None:
    """Yang et al. 2024 (arXiv:2310.02575), layer-wise AdaMerging: theta^l = theta_pre^l + sum_k lambda_k^l T_k^l."""
    merged, initial, parent, expert = merge()
    shares = torch.tensor([0.2, 0.7])
    merged.write(shares)
    layers = list(merged.layers)
    assert layers == ["norm", "last"]
    for name, value in merged.model.state_dict().items():
        if value.is_floating_point():
            share = shares[layers.index(name.split(".")[0])]
            first, found, taught = (net.state_dict()[name] for net in (initial, parent, expert))
            wanted = found + share * (taught - first)
            if name == "norm.running_var":  # a scale: goes the same share of the way by its logarithm
                wanted = torch.exp(found.log() + share * (taught.log() - first.log()))
            torch.testing.assert_close(value, wanted, **ROUNDING)


def test_a_share_s_slope_is_that_of_the_loss_along_its_layer() -> None:
    merged, *_ = merge()
    images = torch.randn(8, 4)
    shares = torch.tensor([0.4, 0.4])

    def loss(at: Tensor) -> Tensor:
        merged.write(at)
        return merged.model.train()(images).square().mean()  # batch norm by the batch: its statistics have no slope

    loss(shares).backward()
    slopes = merged.slopes()
    for layer in range(2):
        step = torch.zeros(2)
        step[layer] = 1e-2
        by_hand = (loss(shares + step) - loss(shares - step)) / 2e-2
        torch.testing.assert_close(slopes[layer], by_hand.detach(), rtol=1e-2, atol=1e-4)
    assert all(p.grad is None for p in merged.model.parameters())

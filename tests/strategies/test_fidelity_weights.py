"""Each method that averages, moves, slows or freezes weights against its paper's formula, written out here."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest import TINY
from fidelity import fidelity
from small import EXACT, Net, plugin, stage
from spy import Spy
from torch import Tensor, nn

from cl_bench.strategies.task_arithmetic import _move
from cl_bench.training.harness import Harness

pytestmark = pytest.mark.usefixtures("seeded")


@fidelity("wise_ft", "1703.08475", "(1), mean-IMM of two tasks", "the same mean after every stage; no weight transfer")
@fidelity("wise_ft", "2109.01903", "(1)", "the first end never saw the task at hand")
def test_wise_ft_is_the_papers_mean_of_weights() -> None:
    """Wortsman et al. 2022 (arXiv:2109.01903), equation (1): (1 - alpha) theta_0 + alpha theta_1; as mean-IMM (Lee et
    al. 2017, arXiv:1703.08475, equation (1)) alpha is the mixing ratio of the task at hand.
    """
    before, after = Net(), Net()
    wise_ft, at_hand = plugin("wise_ft[alpha=0.25]"), stage(copy.deepcopy(after), ["an ancestor"], teacher=before)
    wise_ft.before_training_exp(at_hand)
    (change,) = at_hand.endings
    change()
    for name, value in at_hand.model.state_dict().items():
        if value.is_floating_point():
            wanted = 0.75 * before.state_dict()[name] + 0.25 * after.state_dict()[name]
            torch.testing.assert_close(value, wanted, **EXACT)


@fidelity("task_arithmetic", "2212.04089", "section 2: theta + lambda tau", "a start, which the stage then trains on")
def test_task_arithmetic_starts_with_the_papers_sum() -> None:
    """Ilharco et al. 2023 (arXiv:2212.04089), section 2: theta + lambda * tau, tau = theta_expert - theta_initial."""
    initial, parent, expert = Net(), Net(), Net()
    at_hand = stage(Net(), ["an ancestor"], initial=initial.state_dict)
    _move(at_hand, parent, expert, 0.4)  # type: ignore[arg-type] # which have all that it looks at
    for name, value in at_hand.model.named_parameters():
        tau = expert.state_dict()[name] - initial.state_dict()[name]
        torch.testing.assert_close(value.detach(), parent.state_dict()[name] + 0.4 * tau, **EXACT)


class Moved(Spy):
    """Keeps how far the stage's first step, and the whole stage, moved every parameter and buffer."""

    def before_training_exp(self, strategy: Harness, **_: Any) -> None:
        self.start = copied(strategy)
        self.step: dict[str, Tensor] = {}
        self.learnt = set(strategy.learnt_parameters())

    def after_update(self, strategy: Harness, **_: Any) -> None:
        self.whole = {name: value - self.start[name] for name, value in copied(strategy).items()}
        self.step = self.step or self.whole


def copied(strategy: Harness) -> dict[str, Tensor]:
    return {name: value.detach().double() for name, value in strategy.model.state_dict().items()}


@fidelity(
    "layer_rates",
    "1801.06146",
    "(2): theta_l - eta_l gradient",
    "a rate a part, not a layer; AdamW; no slanted schedule",
)
def test_layer_rates_are_the_papers_discriminative_rates(second_stage: Callable[..., Spy]) -> None:
    """Howard and Ruder 2018 (arXiv:1801.06146), equation (2): each layer's step is eta_l times its gradient. The first
    step starts from equal weights and gradients, so it is the factor times naive's, AdamW's decay included.
    """
    factors = {"backbone": 0.1, "neck": 0.2, "shared": 0.3, "predictors": 0.4}
    plain, slow = Moved(), Moved()
    levels = {"tasks": [{**one, "levels": [8, 16]} if one["name"] == "det" else one for one in TINY["tasks"]]}
    second_stage("kd", plain, **levels)
    second_stage(f"kd+layer_rates[{','.join(f'{k}={v}' for k, v in factors.items())},new=2]", slow, **levels)
    moved = set()
    for name, step in plain.step.items():
        if "running_" not in name and "num_batches" not in name and step.any():
            part = name.split(".")[0] if name in plain.learnt else "new"
            # What float32 keeps of a weight.
            torch.testing.assert_close(slow.step[name], {**factors, "new": 2.0}[part] * step, rtol=1e-3, atol=3e-7)
            moved.add(part)
    assert moved == {*factors, "new"}


@fidelity(
    "frozen_backbone",
    "1801.06146",
    "(2) with eta_l = 0, statistics included",
    "never unfrozen; the paper unfreezes by layer",
)
def test_a_frozen_backbone_is_a_rate_of_zero(second_stage: Callable[..., Spy]) -> None:
    """Howard and Ruder 2018, section 3.3: what is frozen stays, what is not is trained."""
    spy = Moved()
    second_stage("frozen_backbone", spy)
    moved = {name.split(".")[0] for name, way in spy.whole.items() if way.any()}
    assert moved == {"neck", "shared", "predictors"}


@fidelity(
    "frozen_bn",
    "1907.03799",
    "y = gamma (x - mu) / sqrt(var + eps) + beta, mu and var of the first task",
    "no batch renormalisation",
)
def test_frozen_batch_norm_normalises_in_training_by_the_first_tasks_statistics(
    second_stage: Callable[..., Spy],
) -> None:
    """Lomonaco et al. 2020 (arXiv:1907.03799) put batch renormalisation in place of it; here statistics stay. The
    formula is Ioffe and Szegedy's (arXiv:1502.03167), algorithm 2, line 11.
    """
    checked: list[bool] = []

    def held_to(mean: Tensor, var: Tensor) -> Callable[..., None]:
        def check(layer: nn.BatchNorm2d, given: tuple[Tensor], found: Tensor) -> None:
            terms = (layer.weight, layer.bias, mean, (var + layer.eps).sqrt())
            gamma, beta, mu, sigma = (term[:, None, None] for term in terms)
            wanted = getattr(layer, "act", nn.Identity())(gamma * (given[0] - mu) / sigma + beta)  # timm's have one
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
            checked.append(torch.is_grad_enabled() and len(found) > 1)  # a single one asks what depends on what

        return check

    class Watch(Spy):
        def before_training_exp(self, strategy: Harness, **_: Any) -> None:
            first = strategy.ancestors[0].weights()
            layers = [(n, m) for n, m in strategy.model.backbone.named_modules() if isinstance(m, nn.BatchNorm2d)]
            for name, layer in layers[:3]:
                statistics = (first[f"backbone.{name}.running_{of}"] for of in ("mean", "var"))
                layer.register_forward_hook(held_to(*statistics))

    second_stage("frozen_bn", Watch())
    assert sum(checked) == 3 * 6

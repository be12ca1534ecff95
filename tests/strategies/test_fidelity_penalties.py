"""Each method that holds weights by a penalty against its paper's formula, written out here, on the same tensors."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from fidelity import fidelity
from small import EXACT, Data, Net, ancestor, plugin, stage, task
from torch import Tensor, nn

pytestmark = pytest.mark.usefixtures("seeded")


def loss_of(net: nn.Module, centre: float) -> Tensor:
    return sum((p - centre).square().sum() * (i + 1) / 2 for i, p in enumerate(net.parameters()))  # type: ignore[return-value]


@fidelity(
    "si",
    "1703.04200",
    "(3), (4), (5)",
    "importances are scaled (`scaled=false`: not); omega of a task is never below 0",
)
@pytest.mark.parametrize("scaled", [False, True])
def test_si_is_the_papers(scaled: bool) -> None:
    """Zenke et al. 2017 (arXiv:1703.04200): omega is the path integral of -gradient * movement (equation 3), its sum
    over tasks of omega / (movement^2 + xi) (5) weighs c * (old - new)^2 (4). The gradient is the task's alone. Below 0
    it counts 0, as in Chaudhry et al.'s code; Zenke et al.'s clips the sum.
    """
    c, xi, rate, net = 0.3, 0.01, 0.1, nn.Linear(2, 2)
    si = plugin(f"si[weight={2 * c},damping={xi},scaled={str(scaled).lower()}]")
    total = {name: torch.zeros_like(p) for name, p in net.named_parameters()}
    for done, centre in enumerate((1.0, -1.0, 0.5)):
        at_hand = stage(net, ["an ancestor"] * done)
        si.before_training_exp(at_hand)
        first = {name: p.detach().clone() for name, p in net.named_parameters()}
        path = {name: torch.zeros_like(p) for name, p in first.items()}
        mean = float(torch.cat([value.flatten() for value in total.values()]).mean())
        importance = {name: value * (done / mean if scaled and done else 1) for name, value in total.items()}
        for _ in range(5):
            before = {name: p.detach().clone() for name, p in net.named_parameters()}
            own = torch.autograd.grad(loss_of(net, centre), list(net.parameters()))
            at_hand.loss = loss_of(net, centre)
            si.before_backward(at_hand)
            net.zero_grad()
            at_hand.loss.backward()
            for (name, p), task_gradient in zip(net.named_parameters(), own, strict=True):
                wanted = task_gradient + 2 * c * importance[name] * (before[name] - first[name])
                torch.testing.assert_close(p.grad, wanted, rtol=1e-4, atol=1e-5)
            si.before_update(at_hand)
            with torch.no_grad():
                for p in net.parameters():
                    p -= rate * p.grad
            si.after_update(at_hand)
            for (name, p), task_gradient in zip(net.named_parameters(), own, strict=True):
                path[name] -= task_gradient * (p.detach() - before[name])
        for change in at_hand.endings:
            change()
        for name, p in net.named_parameters():
            total[name] += path[name].clamp(min=0) / ((p.detach() - first[name]) ** 2 + xi)
            torch.testing.assert_close(si.state_dict()[name], total[name], rtol=1e-4, atol=1e-5)


def two_stages() -> tuple[Net, list[Any], list[tuple[Net, Data]]]:
    """Return a network that two stages trained, these stages, and what each ended with and was trained on."""
    net, ends = Net(), []
    for index in range(2):
        data = Data(torch.randn(6, 4), torch.tensor([0, 1, 2, 0, 1, 2]), task(f"old {index}"))
        ends.append((copy.deepcopy(net), data))
        with torch.no_grad():
            for p in net.parameters():
                p += 0.3 * torch.randn_like(p)
    return net, [ancestor(end, data) for end, data in ends], ends


def normalised(net: Net, image: Tensor) -> Tensor:
    """Return what batch norm makes of one image in eval mode."""
    mean, variance = net.norm.running_mean, net.norm.running_var
    return (image - mean) / (variance + net.norm.eps).sqrt() * net.norm.weight + net.norm.bias  # type: ignore[operator]


def moments(ends: list[tuple[Net, Data]], of_output: Callable[[Tensor, Tensor], Tensor], power: int) -> list[Tensor]:
    """Return by stage the mean over images of |gradient by the last layer's bias|^power."""
    return [
        torch.stack([of_output(net.last(normalised(net, x)), y["label"]).abs() ** power for x, y in data.plain]).mean(0)
        for net, data in ends
    ]


def log_likelihood_slope(logits: Tensor, label: Tensor) -> Tensor:
    """Return the gradient of -log p(label) by the logits, which is that by the bias: softmax - one hot."""
    return logits.softmax(0) - nn.functional.one_hot(label, 3)


def everything(found: dict[str, Tensor]) -> Tensor:
    return torch.cat([value.flatten() for value in found.values()])


@fidelity("ewc", "1805.06370", "online EWC: F* = gamma F* + F", "each F is scaled to a mean of 1")
@fidelity(
    "ewc", "1612.00796", "F of (3), by single images and their labels", "scaled to a mean of 1; of 100 images a task"
)
@pytest.mark.parametrize("decay", [1.0, 0.5])
def test_ewcs_importance_is_the_papers_fisher_matrix(decay: float) -> None:
    """Kirkpatrick et al. 2017 (arXiv:1612.00796), equation (3): the diagonal of E[(d log p(y|x) / d theta)^2], with the
    data's own labels (empirical); of past tasks F* = gamma F* + F, Schwarz et al. 2018 (arXiv:1805.06370), online EWC.
    """
    net, ancestors, ends = two_stages()
    found = plugin(f"ewc[decay={decay}]").importance(stage(net, ancestors))
    older, newer = (plugin("ewc").importance(stage(net, [one])) for one in ancestors)
    for one, moment in zip((older, newer), moments(ends, log_likelihood_slope, 2), strict=True):
        assert float(everything(one).mean()) == pytest.approx(1)
        torch.testing.assert_close(one["last.bias"] / one["last.bias"].sum(), moment / moment.sum(), **EXACT)
    for end, data in ends:
        # By the weights: the same slope times what the layer sees.
        slopes = [
            torch.outer(log_likelihood_slope(end.last(normalised(end, x)), y["label"]), normalised(end, x)).square()
            for x, y in data.plain
        ]
        wanted = torch.stack(slopes).mean(0)
        one = older if end is ends[0][0] else newer
        torch.testing.assert_close(one["last.weight"] / one["last.weight"].sum(), wanted / wanted.sum(), **EXACT)
    for name in found:
        torch.testing.assert_close(found[name], decay * older[name] + newer[name], **EXACT)


@fidelity("mas", "1711.09601", "(2), (3), summed over tasks", "scaled to a mean of 1; of 100 images a task")
def test_mas_importance_is_the_papers() -> None:
    """Aljundi et al. 2018 (arXiv:1711.09601), equations (2) and (3): the mean over images of |d ||F(x)||^2 / d theta|,
    which is 2 |F| by the bias; summed over tasks (section 3.2). No label is used.
    """
    net, ancestors, ends = two_stages()
    found = plugin("mas").importance(stage(net, ancestors))
    each = [plugin("mas").importance(stage(net, [one])) for one in ancestors]
    for one, moment in zip(each, moments(ends, lambda output, _: 2 * output, 1), strict=True):
        assert float(everything(one).mean()) == pytest.approx(1)
        torch.testing.assert_close(one["last.bias"] / one["last.bias"].sum(), moment / moment.sum(), **EXACT)
    for name in found:
        torch.testing.assert_close(found[name], each[0][name] + each[1][name], **EXACT)


@fidelity("mas", "1711.09601", "(4)", "lambda is weight / 2")
@fidelity(
    "l2_sp", "1802.01483", "section 3: alpha / 2 \\|\\|w - w0\\|\\|^2", "w0 is where the stage began; no beta term"
)
@fidelity("ewc[anchors=each]", "1612.00796", "(3), one penalty a task", "less by a constant")
@fidelity("ewc", "1805.06370", "one penalty around the last weights")
@pytest.mark.parametrize("text", [f"{name}weight=0.3]" for name in ("l2_sp[", "ewc[", "mas[", "ewc[anchors=each,")])
def test_the_penalty_is_the_papers(text: str) -> None:
    """EWC, equation (3): lambda / 2 * sum of F (theta - theta*)^2; of two tasks two such penalties. L2-SP
    (arXiv:1802.01483), section 3: alpha / 2 * ||w - w0||^2. MAS, equation (4): lambda * sum of Omega (...)^2, whose
    lambda is half of what stands here.
    """
    net, ancestors, ends = two_stages()
    held, at_hand = plugin(text), stage(net, ancestors)
    held.before_training_exp(at_hand)
    start = {name: p.detach().clone() for name, p in net.named_parameters()}
    pulls = [(start, {name: torch.ones_like(p) for name, p in start.items()})]
    if not text.startswith("l2_sp"):
        pulls = [(start, plugin(text.split("[")[0]).importance(at_hand))]
    if "each" in text:
        each = [plugin("ewc").importance(stage(net, [one])) for one in ancestors]
        pulls = [(dict(end.named_parameters()), found) for (end, _), found in zip(ends, each, strict=True)]
    with torch.no_grad():
        for p in net.parameters():
            p += 0.1 * torch.randn_like(p)
    at_hand.loss = torch.zeros(())
    held.before_backward(at_hand)
    at_hand.loss.backward()
    for name, p in net.named_parameters():
        wanted = sum(0.3 * weight[name] * (p - anchor[name]).detach() for anchor, weight in pulls)
        torch.testing.assert_close(p.grad, wanted, rtol=1e-4, atol=1e-6)
    if "each" not in text:  # whose value differs by a constant
        value = sum(
            0.3 / 2 * float((weight[name] * (p - anchor[name]).detach() ** 2).sum())
            for anchor, weight in pulls
            for name, p in net.named_parameters()
        )
        assert float(at_hand.loss.detach()) == pytest.approx(value, rel=1e-5)

"""Each method that regularises against its paper's formula, written out here, on the same tensors."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import Spy
from small import Data, Net, ancestor, plugin, stage, task
from torch import Tensor, nn

from cl_bench.strategies.kd import Distillation
from cl_bench.strategies.task_arithmetic import _move
from cl_bench.training.harness import Harness

T = 2.0
EXACT = {"rtol": 1e-5, "atol": 1e-7}


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def softened(logits: Tensor) -> Tensor:
    """Return y' of LwF, equation (3): y^(1/T) / sum of y^(1/T), which is Hinton et al.'s equation (1)."""
    powers = logits.softmax(1) ** (1 / T)
    return powers / powers.sum(1, keepdim=True)


def gradient(value: Tensor, at: Tensor) -> Tensor:
    return torch.autograd.grad(value, at)[0]


def hinton(student: Tensor, teacher: Tensor) -> Tensor:
    """Hinton et al. 2015 (arXiv:1503.02531), section 2: KL to the soft targets, times T^2."""
    p, q = softened(teacher), softened(student)
    return T**2 * (p * (p / q).log()).sum(1).mean()


def reversed_kl(student: Tensor, teacher: Tensor) -> Tensor:
    """As asked for by the protocol: T^2 * KL(student || teacher)."""
    p, q = softened(student), softened(teacher)
    return T**2 * (p * (p / q).log()).sum(1).mean()


def lwf_old(student: Tensor, teacher: Tensor) -> Tensor:
    """Li and Hoiem 2016 (arXiv:1606.09282), equation (2): L_old = - sum of y'_o log y^'_o, lambda_o = 1, T = 2."""
    return -(softened(teacher) * softened(student).log()).sum(1).mean()


@pytest.mark.parametrize(
    ("text", "paper"),
    [("kd", hinton), ("kd[direction=student_teacher]", reversed_kl), ("lwf[squared=true]", hinton)],
)
def test_distillation_is_the_papers(text: str, paper: Callable[[Tensor, Tensor], Tensor]) -> None:
    teacher, student = torch.randn(5, 3), torch.randn(5, 3, requires_grad=True)
    found, wanted = plugin(text).distance(task(), student, teacher), paper(student, teacher)
    torch.testing.assert_close(found, wanted, **EXACT)
    torch.testing.assert_close(gradient(found, student), gradient(wanted, student), **EXACT)


def test_lwf_has_the_gradient_of_the_papers_cross_entropy() -> None:
    teacher, student = torch.randn(5, 3), torch.randn(5, 3, requires_grad=True)
    lwf = plugin("lwf")
    found = lwf.weight * lwf.distance(task(), student, teacher)
    wanted = lwf_old(student, teacher)
    torch.testing.assert_close(gradient(found, student), gradient(wanted, student), **EXACT)
    # The values differ by the entropy of the teacher, which learns nothing.
    entropy = -(softened(teacher) * softened(teacher).log()).sum(1).mean()
    torch.testing.assert_close(found, wanted - entropy, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "paper"),
    [
        ("kd", hinton),
        ("kd[direction=student_teacher]", reversed_kl),
        ("lwf[warmup_epochs=0]", lambda s, t: lwf_old(s, t) - lwf_old(t, t)),
    ],
)
def test_what_the_loss_gains_is_the_papers_term_of_a_teacher_in_eval_mode(
    second_stage: Callable[..., Spy], text: str, paper: Callable[[Tensor, Tensor], Tensor]
) -> None:
    gains: list[tuple[float, float]] = []

    class Watch(Spy):
        def before_training_exp(self, strategy: Harness, **_: Any) -> None:
            self.teacher = strategy.ancestors[-1].model(strategy.model).eval()

        def before_backward(self, strategy: Harness, **_: Any) -> None:
            ((images, features),) = strategy.passes
            (past,) = strategy.past_tasks
            with torch.no_grad():
                wanted = self.teacher.raw(self.teacher.features(images), past)
                term = paper(strategy.model.raw(features, past), wanted)
            task_loss = sum(map(float, strategy._criterion.parts.values()))
            gains.append((float(strategy.loss.detach()) - task_loss, float(term)))

    second_stage(text, Watch(), ("cls", "det"))
    assert len(gains) == 6
    assert gains[0][1] > 1e-4, "the student normalises by its batch, the teacher does not"
    for found, wanted in gains:
        assert found == pytest.approx(wanted, rel=1e-3, abs=2e-6)  # a difference of losses, of float32


@pytest.mark.parametrize("setting", ["", "weight=8,adaptive=false"])
def test_pod_is_the_papers_spatial_term(setting: str) -> None:
    """Douillard et al. 2020 (arXiv:2004.13513), POD-spatial, as in their code (arthurdouillard,
    incremental_learning.pytorch, inclearn/lib/losses/distillation.py): features are squared first, pooled vectors
    brought to length 1, and their distance is a mean over images and layers. It counts 3 * sqrt(all classes / new ones)
    times (`pod_spatial: scheduled_factor: 3.0` in options/podnet/podnet_cnn_cifar100.yaml).
    """
    pod = plugin(f"pod[{setting}]" if setting else "pod")
    student, teacher = ({level: torch.randn(2, 3, 4, 5) for level in (8, 16)} for _ in range(2))
    old, new = task("old", 21, (8, 16)), task("new", 10)
    at_hand = stage(nn.Identity(), [ancestor(Net())], past_tasks=[old], current=[SimpleNamespace(task=new)])
    at_hand.teacher, at_hand.loss = "there is one", torch.zeros(())
    at_hand.passes, at_hand.taught = [(torch.zeros(2), student)], lambda: [teacher]
    pod.before_training_exp(at_hand)
    pod.before_backward(at_hand)
    distances = []
    for level in (8, 16):
        for image in range(2):
            vectors = []
            for features in (student[level][image], teacher[level][image]):
                rows, columns = (features**2).sum(1), (features**2).sum(2)
                joined = torch.cat([rows.flatten(), columns.flatten()])
                vectors.append(joined / joined.pow(2).sum().sqrt())
            distances.append((vectors[0] - vectors[1]).pow(2).sum().sqrt())
    factor = 8 if setting else 3 * math.sqrt((21 + 10) / 10)
    wanted = factor * torch.stack(distances).mean()
    torch.testing.assert_close(at_hand.loss, wanted, rtol=1e-4, atol=0)  # 1e-6 of the root, whose slope is finite


def loss_of(net: nn.Module, centre: float) -> Tensor:
    return sum((p - centre).square().sum() * (i + 1) / 2 for i, p in enumerate(net.parameters()))  # type: ignore[return-value]


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
        assert float(at_hand.loss) == pytest.approx(value, rel=1e-5)


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


def test_task_arithmetic_starts_with_the_papers_sum() -> None:
    """Ilharco et al. 2023 (arXiv:2212.04089), section 2: theta + lambda * tau, tau = theta_expert - theta_initial."""
    initial, parent, expert = Net(), Net(), Net()
    at_hand = stage(Net(), ["an ancestor"], initial=initial.state_dict)
    _move(at_hand, parent, expert, 0.4)  # type: ignore[arg-type] # which have all that it looks at
    for name, value in at_hand.model.named_parameters():
        tau = expert.state_dict()[name] - initial.state_dict()[name]
        torch.testing.assert_close(value.detach(), parent.state_dict()[name] + 0.4 * tau, **EXACT)


def test_lwf_warms_up_with_all_that_was_learnt_still_statistics_included(
    second_stage: Callable[..., Spy], results: Path
) -> None:
    """Li and Hoiem 2016, section 3: first theta_s and theta_o are frozen and theta_n alone is trained."""
    moved: list[tuple[set[str], bool]] = []
    terms: list[float] = []

    class Watch(Spy):
        def before_training_exp(self, strategy: Harness, **_: Any) -> None:
            self.start = {name: value.clone() for name, value in strategy.model.state_dict().items()}

        def before_backward(self, strategy: Harness, **_: Any) -> None:
            ((_, features),) = strategy.passes
            lwf = next(one for one in strategy.plugins if isinstance(one, Distillation))
            terms.append(float(lwf.term(strategy, features, strategy.taught()[0]).detach()))

        def after_training_epoch(self, strategy: Harness, **_: Any) -> None:
            now = strategy.model.state_dict()
            changed = {name for name, value in now.items() if not torch.equal(value, self.start[name])}
            moved.append((changed, strategy.model.norm_frozen))

    second_stage("lwf", Watch())
    (warm, _), (after, frozen) = moved
    assert warm
    assert all(name.startswith("predictors.det.") for name in warm)
    assert any(name.endswith("running_mean") for name in after)
    assert not frozen
    assert max(terms[:3]) < 1e-6 < min(terms[4:]), "nothing to distil while nothing moves"

"""Each method that distils against its paper's formula, written out here, on the same tensors."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fidelity import OWN, fidelity
from small import EXACT, ROUNDING, Net, T, ancestor, hinton, plugin, plugin_of, softened, stage, task
from spy import Spy
from torch import Tensor, nn

from cl_bench.strategies.ema_teacher import SlowTeacher
from cl_bench.strategies.kd import Distillation
from cl_bench.training.harness import Harness

pytestmark = pytest.mark.usefixtures("seeded")


def gradient(value: Tensor, at: Tensor) -> Tensor:
    return torch.autograd.grad(value, at)[0]


def reversed_kl(student: Tensor, teacher: Tensor) -> Tensor:
    """As asked for by the protocol: T^2 * KL(student || teacher)."""
    p, q = softened(student), softened(teacher)
    return T**2 * (p * (p / q).log()).sum(1).mean()


def lwf_old(student: Tensor, teacher: Tensor) -> Tensor:
    """Li and Hoiem 2016 (arXiv:1606.09282), equation (2): L_old = - sum of y'_o log y^'_o, lambda_o = 1, T = 2."""
    return -(softened(teacher) * softened(student).log()).sum(1).mean()


@fidelity(
    "kd[direction=student_teacher]", OWN, "T^2 KL(student \\|\\| teacher), the protocol's", "the papers' is the reverse"
)
@fidelity("kd", "1503.02531", "section 2: T^2 KL(teacher \\|\\| student)", "a mean over pixels or cells, too")
@pytest.mark.parametrize(
    ("text", "paper"),
    [("kd", hinton), ("kd[direction=student_teacher]", reversed_kl), ("lwf[squared=true]", hinton)],
)
def test_distillation_is_the_papers(text: str, paper: Callable[[Tensor, Tensor], Tensor]) -> None:
    teacher, student = torch.randn(5, 3), torch.randn(5, 3, requires_grad=True)
    found, wanted = plugin(text).distance(task(), student, teacher), paper(student, teacher)
    torch.testing.assert_close(found, wanted, **EXACT)
    torch.testing.assert_close(gradient(found, student), gradient(wanted, student), **EXACT)


@fidelity("lwf", "1606.09282", "(2), (3): cross-entropy to softened outputs, lambda_o = 1, T = 2", "less by a constant")
def test_lwf_has_the_gradient_of_the_papers_cross_entropy() -> None:
    teacher, student = torch.randn(5, 3), torch.randn(5, 3, requires_grad=True)
    lwf = plugin("lwf")
    found = lwf.weight * lwf.distance(task(), student, teacher)
    wanted = lwf_old(student, teacher)
    torch.testing.assert_close(gradient(found, student), gradient(wanted, student), **EXACT)
    # The values differ by the entropy of the teacher, which learns nothing.
    entropy = -(softened(teacher) * softened(teacher).log()).sum(1).mean()
    torch.testing.assert_close(found, wanted - entropy, rtol=1e-5, atol=1e-6)


@fidelity(
    "kd",
    "1606.09282",
    "figure 2: the task's loss + lambda_o * the term, the teacher as it was, in eval mode",
    "the decay R is AdamW's",
)
@pytest.mark.parametrize(
    ("text", "paper"),
    [
        ("kd[weight=1]", hinton),
        ("kd[weight=1,direction=student_teacher]", reversed_kl),
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


@fidelity(
    "pod",
    "2004.13513",
    "POD-spatial with the adaptive factor",
    "of the shared levels, not of the residual stages; no POD-flat",
)
@pytest.mark.parametrize("setting", ["weight=3", "weight=8,adaptive=false"])
def test_pod_is_the_papers_spatial_term(setting: str) -> None:
    """Douillard et al. 2020 (arXiv:2004.13513), POD-spatial, as in their code (arthurdouillard,
    incremental_learning.pytorch, inclearn/lib/losses/distillation.py): features are squared first, pooled vectors
    brought to length 1, and their distance is a mean over images and layers. It counts 3 * sqrt(all classes / new ones)
    times (`pod_spatial: scheduled_factor: 3.0` in options/podnet/podnet_cnn_cifar100.yaml).
    """
    pod = plugin(f"pod[{setting}]")
    student, teacher = ({level: torch.randn(2, 3, 4, 5) for level in (8, 16)} for _ in range(2))
    old, new = task("old", 21, (8, 16)), task("new", 10)
    at_hand = stage(nn.Identity(), [ancestor(Net())], past_tasks=[old], current=[SimpleNamespace(task=new)])
    at_hand.teacher, at_hand.loss = "there is one", torch.zeros(())
    at_hand.passes, at_hand.teacher_features = [(torch.zeros(2), student)], lambda: [teacher]
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
    factor = 8 if setting == "weight=8,adaptive=false" else 3 * math.sqrt((21 + 10) / 10)
    wanted = factor * torch.stack(distances).mean()
    torch.testing.assert_close(at_hand.loss, wanted, rtol=1e-4, atol=0)  # 1e-6 of the root, whose slope is finite


@fidelity("lwf", "1606.09282", "section 3: theta_n alone warms up", "one of the stage's epochs, not to convergence")
def test_lwf_warms_up_with_all_that_was_learnt_still_statistics_included(
    second_stage: Callable[..., Spy],
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
            terms.append(float(lwf.term(strategy, features, strategy.teacher_features()[0]).detach()))

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


@fidelity(
    "feature_kd",
    "1412.6550",
    "hint loss: 1/2 \\|\\|u - v\\|\\|^2",
    "divided by the teacher's 1/2 \\|\\|u\\|\\|^2; no regressor",
)
def test_feature_kd_is_the_papers_hint_loss_by_the_size_of_the_hint() -> None:
    """Romero et al. 2015 (arXiv:1412.6550), section 2.2: 1/2 ||u_h(x) - r(v_g(x))||^2, u the teacher's hint. Student
    and teacher are of one shape here, so that there is no regressor r; and a mean over levels.
    """
    hint, guided = ({level: torch.randn(2, 3, 4, 5) for level in (8, 16)} for _ in range(2))
    at_hand = stage(nn.Identity(), [ancestor(Net())], past_tasks=[task("old", 3, (8, 16))])
    at_hand.teacher, at_hand.loss = "there is one", torch.zeros(())
    at_hand.passes, at_hand.teacher_features = [(torch.zeros(2), guided)], lambda: [hint]
    feature_kd = plugin("feature_kd[weight=3]")
    feature_kd.before_training_exp(at_hand)
    feature_kd.before_backward(at_hand)
    by_level = [((hint[n] - guided[n]) ** 2).sum() / 2 / ((hint[n] ** 2).sum() / 2) for n in (8, 16)]
    torch.testing.assert_close(at_hand.loss, 3 * (by_level[0] + by_level[1]) / 2, **EXACT)


class SlowlyFollowed(Spy):
    """Keeps a moving average of the student by the formula, and holds it and its distillation to the plug-in's.

    Parameters and statistics alike; alpha: what the average keeps of itself a step.
    """

    def __init__(self, alpha: float) -> None:
        super().__init__()
        self.alpha, self.terms = alpha, list[float]()

    def before_training_exp(self, strategy: Harness, **_: Any) -> None:
        self.slow = strategy.ancestors[-1].model(strategy.model).eval()

    def before_backward(self, strategy: Harness, **_: Any) -> None:
        ((images, features),), (past,) = strategy.passes, strategy.past_tasks
        with torch.no_grad():
            wanted = self.slow.raw(self.slow.features(images), past)
            self.terms.append(float(hinton(strategy.model.raw(features, past), wanted)))
        gain = float(strategy.loss.detach()) - sum(map(float, strategy._criterion.parts.values()))
        assert gain == pytest.approx(self.terms[-1], rel=1e-3, abs=2e-6)  # a difference of losses, of float32

    def after_update(self, strategy: Harness, **_: Any) -> None:
        held = plugin_of(strategy, SlowTeacher).state_dict()
        for name, value in strategy.model.state_dict().items():
            if value.is_floating_point():
                mean = self.alpha * self.slow.state_dict()[name] + (1 - self.alpha) * value
                self.slow.state_dict()[name].copy_(mean)
                torch.testing.assert_close(held[name], mean, **ROUNDING)


@fidelity(
    "ema_teacher",
    "2201.12604",
    "section 3: theta_S <- alpha theta_S + (1 - alpha) theta_W",
    "at each step; KL on current images, not squares of logits of stored ones; no plastic model",
)
def test_the_slow_teacher_is_the_papers_moving_average(second_stage: Callable[..., Spy]) -> None:
    """Arani et al. 2022 (arXiv:2201.12604), section 3: the semantic memory is an exponential moving average of the
    working model's weights. Here it starts as the parent, and is in eval mode.
    """
    spy = SlowlyFollowed(0.6)
    second_stage("ema_teacher[weight=1,decay=0.6]", spy, ("cls", "det"))
    assert len(spy.terms) == 6
    assert spy.terms[-1] > 1e-5

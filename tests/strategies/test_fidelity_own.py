"""What is no published method, against the formula that it says it has, or against the parts that it is made of."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fidelity import OWN, fidelity
from small import EXACT, Net, ancestor, hinton, plugin, plugin_of, stage, task
from spy import Spy
from torch import Tensor, nn

from cl_bench.kinds.base import Task
from cl_bench.kinds.detection.grid import decode_boxes
from cl_bench.kinds.detection.kind import _cells
from cl_bench.plugins.registry import kinds
from cl_bench.runner.prepare import Prepared, prepare
from cl_bench.strategies.replay import Replay
from cl_bench.training.harness import Harness

pytestmark = pytest.mark.usefixtures("seeded")


def a_detector() -> Task:
    kind = kinds.get("detection")
    return Task(
        0, "old", kind, ("a", "b", "c"), "per_class", (32,), 64, kind.Settings(box_weight=2.0, class_weight=0.5)
    )


@fidelity("response_kd", OWN, "the teacher's answers in place of labels: T^2 KL; detection: its own loss (ERD's idea)")
def test_response_kd_takes_answers_for_labels() -> None:
    """Not of a paper (ERD, arXiv:2204.02136, chooses cells by a threshold). With c the teacher's confidence of a cell:
    (sum of QFL(confidence, c) + sum of c * (2 * (1 - GIoU) + 0.5 * KL(teacher || student))) / max(sum of c, 1).
    """
    teacher, student = torch.randn(2, 2, 5 + 3, 4)
    c, detector = teacher[:, 4].sigmoid(), a_detector()
    p = student[:, 4].sigmoid()
    qfl = -(c * p.log() + (1 - c) * (1 - p).log()) * (p - c) ** 2
    box = 1 - torch.stack([giou(*pair) for pair in zip(corners(student), corners(teacher), strict=True)]).view(2, 4)
    q, s = teacher[:, 5:].softmax(1), student[:, 5:].softmax(1)
    kl = (q * (q / s).log()).sum(1)
    wanted = (qfl.sum() + (c * (2 * box + 0.5 * kl)).sum()) / c.sum().clamp(min=1)
    found = plugin("response_kd").distance(detector, student, teacher)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    labels = torch.randn(2, 5, 3)
    torch.testing.assert_close(plugin("response_kd").distance(task(), *labels), hinton(*labels), **EXACT)


def corners(raw: Tensor) -> Tensor:
    """Return the boxes (B * N, 4) of raw outputs (B, channels, N), which have tests of their own."""
    return decode_boxes(raw, _cells(a_detector(), raw)).reshape(-1, 4)


def giou(a: Tensor, b: Tensor) -> Tensor:
    """Return Rezatofighi et al. 2019 (arXiv:1902.09630), algorithm 1, of two boxes (x1, y1, x2, y2)."""
    low, high = torch.maximum(a[:2], b[:2]), torch.minimum(a[2:], b[2:])
    overlap = (high - low).clamp(min=0).prod()
    union = (a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - overlap
    hull = (torch.maximum(a[2:], b[2:]) - torch.minimum(a[:2], b[:2])).prod()
    return overlap / union - (hull - union) / hull


@fidelity("expert_kd", OWN, "T^2 KL(expert \\|\\| student) of the task at hand (after DMC's two teachers)")
def test_expert_kd_adds_the_imitation_of_each_expert() -> None:
    """Not of a paper: DMC (arXiv:1903.07864) trains a third model, by squares of logits less their mean."""
    model, own, past = Net(), Net().eval(), Net().eval()
    new, old = task("new", index=1), task("old")
    images = [torch.randn(5, 4), torch.randn(3, 4)]
    at_hand = stage(model, [ancestor(past)], past_tasks=[old], current=[SimpleNamespace(task=new)])
    at_hand.expert = lambda asked: own if asked is new else past
    at_hand.passes = [(x, model.eval().features(x)) for x in images]
    at_hand.features_by = lambda other: [other.features(x) for x in images]
    at_hand.loss = torch.zeros(())
    expert_kd = plugin("expert_kd[weight=2,past=0.5]")
    expert_kd.before_training_exp(at_hand)
    expert_kd.before_backward(at_hand)
    x = torch.cat(images)
    wanted = 2 * hinton(model(x), own(x)) + 0.5 * hinton(model(x), past(x))
    torch.testing.assert_close(at_hand.loss, wanted, **EXACT)


@fidelity("view_kd", OWN, "`response_kd`, over views of stored images too, no two alike, whose labels count nothing")
@pytest.mark.parametrize(("order", "mosaics"), [(("seg", "det"), True), (("cls", "det"), False)])
def test_view_kd_imitates_on_views_of_which_no_two_are_alike(
    order: tuple[str, str], mosaics: bool, second_stage: Callable[..., Spy]
) -> None:
    """Not of a paper: Beyer et al. 2022 (arXiv:2106.05237) and Asano and Saeed 2021 (arXiv:2112.00725) distil alone."""
    views: list[Tensor] = []
    ids: set[int] = set()

    class Watch(Spy):
        def before_backward(self, strategy: Harness, **_: Any) -> None:
            (past,) = strategy.past_tasks
            views.extend(strategy.mb_x[4:])
            ids.update(int(target["index"]) for target in strategy.mb_y[4:])
            ((images, features),) = strategy.passes
            own = strategy.model.raw(features, past)
            answers = past.kind.imitation(past, own, self.answers(strategy, images, past))
            now = strategy._criterion.parts[strategy.current[0].task.index]
            torch.testing.assert_close(strategy.loss.squeeze(), now + 2 * answers, rtol=1e-4, atol=1e-5)

        def answers(self, strategy: Harness, images: Tensor, past: Task) -> Tensor:
            with torch.no_grad():
                return strategy.teacher.raw(strategy.teacher.features(images), past)

        def before_training_exp(self, strategy: Harness, **_: Any) -> None:
            memory = plugin_of(strategy, Replay).memory
            ((dataset, self.stored),) = memory.stored
            assert bool(dataset.augment.mosaic) == mosaics
            assert dataset.augment.zoom[1] > strategy.past[0].augment.zoom[1]

    spy = Watch()
    second_stage("view_kd[memory=3,weight=2]", spy, order)
    assert ids == set(spy.stored)
    assert len(views) == 24
    assert all(not torch.equal(a, b) for a, b in itertools.combinations(views, 2))


@fidelity("rewind", OWN, "(1 - share) theta + share theta_initial, of the backbone (shrink and perturb adds noise)")
def test_rewind_goes_part_of_the_way_to_the_initial_backbone() -> None:
    """Not of a paper: Ash and Adams 2020 (arXiv:1910.08475) shrink towards 0 and add noise."""
    model, initial = (nn.ModuleDict({"backbone": Net(), "shared": Net()}) for _ in range(2))
    before = copy.deepcopy(model.state_dict())
    plugin("rewind[share=0.25]").before_training_exp(
        stage(model, ["an ancestor"], teacher="there is one", initial=initial.state_dict)
    )
    for name, value in model.state_dict().items():
        mixed = 0.75 * before[name] + 0.25 * initial.state_dict()[name]
        torch.testing.assert_close(value, mixed if "backbone" in name else before[name], **EXACT, check_dtype=False)


@fidelity("hold", OWN, "its four parts, to the bit")
@fidelity("consolidate", OWN, "its five parts, to the bit")
@pytest.mark.parametrize(
    ("whole", "parts"),
    [
        (
            "hold",
            "kd[weight=3]+feature_kd+replay+layer_rates[backbone=0.3,neck=0.3,shared=0.3,predictors=1,new=3]",
        ),
        (
            "consolidate",
            "task_arithmetic[memory=10]+response_kd[weight=5]+replay"
            "+layer_rates[backbone=0.5,neck=0.5,shared=0.5,predictors=1,new=3,limit=true]+expert_kd",
        ),
    ],
)
def test_what_is_made_of_parts_is_their_sum(
    whole: str, parts: str, results: Path, tiny: Callable[..., str], with_stages: Callable[[Prepared], Prepared]
) -> None:
    path = tiny(orders=[["seg", "det"]], epochs=1)
    prepared = with_stages(prepare(path, strategies=[whole, parts, "naive"]))
    own, sum_of, naive = (prepared.store.weights(run.stages[1]) for run in prepared.plan.runs)
    assert all(torch.equal(own[name], value) for name, value in sum_of.items())
    assert any(not torch.equal(own[name], value) for name, value in naive.items())

"""What is rehearsed with labels, and which images, against the papers' formulas and algorithms, written out here."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import Run
from fidelity import NONE, fidelity
from small import KIND, Rehearsed, task_loss
from spy import Spy

from cl_bench.data.base import Example, Split
from cl_bench.strategies.er import ClassBalanced, Reservoir
from cl_bench.strategies.replay import Memory
from cl_bench.training.harness import Harness


@fidelity(
    "er", "1902.10486", "algorithm 1: one step on a batch and a stored batch", "each task's mean counts 1, not 1/2"
)
@fidelity("replay", "1902.10486", "algorithm 1, as `er`", "images by chance, the same number a task; tasks in turn")
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


@fidelity(
    "er[choose=reservoir]",
    "1902.10486",
    "reservoir: each of N images stays with probability size / N",
    "a task's images pass in the order of the seed",
)
def test_ers_reservoir_keeps_all_that_came_by_alike() -> None:
    # Chaudhry et al. 2019 (arXiv:1902.10486), reservoir sampling (Vitter 1985, algorithm R), over all tasks together.
    counts = np.zeros(24)
    for seed in range(1000):
        past = [FakeData(12, "a"), FakeData(12, "b")]
        at_hand: Any = SimpleNamespace(seed=seed, past=past)
        kept = [12 * place + index for place, one in enumerate(past) for index in Reservoir(5).choose(at_hand, one)]  # type: ignore[arg-type]
        assert len(set(kept)) == 5
        counts[kept] += 1
    expected = 1000 * 5 / 24
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected * (1 - 5 / 24))


class FakeData:
    """As many images of a task as `size` says; labels: their classes."""

    def __init__(self, size: int, name: str, labels: Sequence[int] = ()) -> None:
        self.size, self.task = size, SimpleNamespace(randomness=name, kind=KIND)
        self.split = Split(("x", "y", "z"), tuple(Example(str(i), Path(), label) for i, label in enumerate(labels)))
        self.shown = KIND.held(self.split)

    def __len__(self) -> int:
        return self.size


@fidelity("er", "1611.07725", "algorithm 2: m = K / t images a class", "chosen at random, not by herding; K a task")
def test_ers_balanced_memory_has_the_papers_number_a_class() -> None:
    # Rebuffi et al. 2017 (arXiv:1611.07725), algorithms 2 to 5: of K exemplars each of t classes has m = K / t. A class
    # that has fewer images than that leaves its share to the others.
    labels = [0] * 20 + [1] * 10 + [2] * 3
    for size, wanted in ((9, [3, 3, 3]), (6, [2, 2, 2]), (13, [5, 5, 3])):
        chosen = ClassBalanced(size).choose(SimpleNamespace(seed=1), FakeData(33, "a", labels))  # type: ignore[arg-type]
        assert len(set(chosen)) == size
        assert np.bincount([labels[index] for index in chosen]).tolist() == wanted


class Everything(Rehearsed):
    """Keeps which past images a step shows, too."""

    def __init__(self) -> None:
        super().__init__(1.0, None)
        self.shown: list[int] = []

    def before_backward(self, strategy: Harness, **more: Any) -> None:
        super().before_backward(strategy, **more)
        if strategy.past:
            self.shown += [int(target["index"]) for target in strategy.mb_y[4:]]


@fidelity(
    "cumulative",
    "1902.10486",
    "algorithm 1 with a memory of all images, each shown as often",
    "a batch of one past task a step",
)
def test_cumulative_rehearses_every_past_image_alike(run: Run) -> None:
    spy = Everything()
    run("cumulative", spy)
    assert spy.steps == 6
    assert [sorted(spy.shown[lap : lap + 12]) for lap in (0, 12)] == [list(range(12))] * 2, "in two epochs twice"


@fidelity("joint", NONE, "every image of every task as often as alone, each step one task's mean loss")
def test_joint_shows_every_image_as_often_as_alone(run: Run) -> None:
    shown: Counter[tuple[int, int]] = Counter()

    class Watch(Spy):
        def before_backward(self, strategy: Harness, **_: Any) -> None:
            (index,) = set(strategy.mb_task_id.tolist())
            shown.update((index, int(target["index"])) for target in strategy.mb_y)
            twin = copy.deepcopy(strategy.model).train()
            wanted = task_loss(strategy, strategy.mb_x, strategy.mb_y, index, twin)
            assert float(strategy.loss.detach()) == pytest.approx(float(wanted.detach()), rel=1e-5)

    run("joint", Watch(), ("seg", "det", "cls"))
    assert shown == {(task, image): 2 for task in range(3) for image in range(12)}, "two epochs"

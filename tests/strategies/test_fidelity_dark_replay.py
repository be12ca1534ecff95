"""DER, DER++ and FDR, which store outputs, against their papers' formulas, written out here, on real steps."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Run
from fidelity import fidelity
from small import ROUNDING, plugin_of, said
from spy import Spy
from torch import Tensor

from cl_bench.strategies.der import DarkReplay, Trajectory
from cl_bench.strategies.fdr import FunctionReplay
from cl_bench.training.harness import Harness


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


@fidelity("der[beta=0.5]", "2004.07211", "DER++: + beta E l(y, f(x)) over another draw", "as `der`")
@fidelity(
    "der",
    "2004.07211",
    "L + alpha E \\|\\|z - h(x)\\|\\|^2, a mean over logits",
    "rehearsed from the next stage on; tasks in turn",
)
@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 0.0), (2.0, 0.5)])
def test_der_holds_images_to_what_was_said_of_them_as_they_were_trained(alpha: float, beta: float, run: Run) -> None:
    # Buzzega et al. 2020 (arXiv:2004.07211), eq. 4 and 6, algorithms 1 and 2: L + alpha E[||z - h(x)||^2] over (x, z)
    # in the memory + beta E[l(y, f(x))] over another draw; z: the logits of the step in which x came in. As in its
    # authors' code the squared norm is a mean over logits, and the network is in training mode in all of it.
    spy = AlongTraining(alpha, beta)
    run(f"der[memory=5,alpha={alpha},beta={beta}]", spy)
    assert len(spy.distances) == 6
    assert min(spy.distances) > 1e-4


@fidelity("der", "2004.07211", "z is what was said in the step in which x came in")
def test_ders_stored_outputs_are_those_of_training_and_come_with_their_images(run: Run) -> None:
    spy = AlongTraining(0.5, 0.0)
    run("der[memory=7,alpha=0.5]", spy)
    seg = spy.stored
    assert (len(seg.views), len(seg.outputs), seg.passed) == (7, 7, 24)
    for (index, _, epoch), output in zip(seg.views, seg.outputs, strict=True):
        torch.testing.assert_close(output, spy.outputs[index, epoch], **ROUNDING)


@fidelity("der", "2004.07211", "reservoir: each of N images stays with probability size / N", "a reservoir a task")
@pytest.mark.slow
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


@fidelity(
    "fdr", "1805.08289", "distance to what was said at the task's end", "squares of raw outputs; with labels (`beta`)"
)
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

"""The same methods in Avalanche 0.6 on the same tensors, and where the two differ, why."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from avalanche.training.plugins import AGEMPlugin, EWCPlugin, GEMPlugin, MASPlugin, SynapticIntelligencePlugin
from avalanche.training.regularization import LearningWithoutForgetting
from conftest import Run
from fidelity import avalanche
from small import EXACT, ROUNDING, Data, Net, Rehearsed, ancestor, plugin, stage, task
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from cl_bench.strategies.agem import project
from cl_bench.strategies.gem import projection

pytestmark = pytest.mark.usefixtures("seeded")


class Linear(Net):
    """Without batch norm: Avalanche's MAS measures in train mode, where an image alone cannot be normalised."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.Identity()  # type: ignore[assignment]


def images_of(net: Net) -> tuple[TensorDataset, Any]:
    """Return six images as Avalanche takes them, and a stage that the network as it is ended."""
    images, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])
    return TensorDataset(images, labels, torch.zeros(6)), ancestor(net, Data(images, labels, task()))


def as_shares(found: Any) -> dict[str, Tensor]:
    """Return importances divided by their mean, as ours are: theirs have the unit of the loss."""
    tensors = {name: getattr(value, "data", value) for name, value in found.items()}
    mean = torch.cat([value.flatten() for value in tensors.values()]).mean()
    return {name: value / mean for name, value in tensors.items()}


@avalanche("LwFPlugin", "loss and gradient, `alpha=1`", "theirs has the teacher in train mode, and no warm-up")
def test_lwf_adds_the_same_loss_and_gradient() -> None:
    teacher, student = torch.randn(5, 3), torch.randn(5, 3, requires_grad=True)
    theirs = LearningWithoutForgetting(alpha=1, temperature=2)
    wanted = theirs.alpha * theirs._distillation_loss(student, teacher, [0, 1, 2])
    lwf = plugin("lwf")
    found = lwf.weight * lwf.distance(task(), student, teacher)
    torch.testing.assert_close(found, wanted, **EXACT)
    slopes = [torch.autograd.grad(loss, student)[0] for loss in (found, wanted)]
    torch.testing.assert_close(*slopes, **EXACT)
    # Theirs runs the teacher in train mode, whose batch norm then moves; ours is in eval mode.


@avalanche(
    "EWCPlugin", "importances, over their mean", "theirs squares a batch's mean gradient: equal by single images"
)
def test_ewc_finds_the_same_importances() -> None:
    net = Net()
    data, ended = images_of(net)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    # By one image: theirs squares the mean gradient of each batch, which larger batches make smaller.
    theirs = EWCPlugin(1.0).compute_importances(net, nn.CrossEntropyLoss(), optimizer, data, "cpu", 1)
    found = plugin("ewc").importance(stage(net, [ended]))
    for name, wanted in as_shares(theirs).items():
        torch.testing.assert_close(found[name], wanted, **EXACT)


@avalanche("EWCPlugin[mode=online]", "penalty, but for a factor", "theirs lacks the paper's half")
def test_ewcs_penalty_is_half_of_theirs_at_equal_importances() -> None:
    net = Net()
    _, ended = images_of(net)
    ours, at_hand = plugin("ewc[weight=0.3]"), stage(net, [ended])
    ours.before_training_exp(at_hand)
    theirs = EWCPlugin(0.3, mode="online", decay_factor=1.0)
    theirs.importances[0] = {name: SimpleNamespace(expand=lambda _, w=w: w) for name, _, w in ours._held}  # type: ignore[misc]
    theirs.saved_params[0] = {name: SimpleNamespace(expand=lambda _, s=s: s) for name, s, _ in ours._held}  # type: ignore[misc]
    with torch.no_grad():
        for p in net.parameters():
            p += 0.1
    at_hand.clock, at_hand.loss = SimpleNamespace(train_exp_counter=1), torch.zeros(())
    theirs.before_backward(at_hand)
    # The paper has lambda / 2; theirs leaves the half out.
    torch.testing.assert_close(ours.penalty(at_hand), at_hand.loss / 2, **EXACT)


@avalanche(
    "MASPlugin", "importances of one task, over their mean", "theirs averages tasks (the paper sums), in train mode"
)
def test_mas_finds_the_same_importances_of_one_task() -> None:
    net = Linear()
    data, ended = images_of(net)
    found = plugin("mas").importance(stage(net, [ended]))
    # By one image: theirs takes the size of the mean gradient of each batch. Of several tasks theirs keeps a moving
    # average (alpha = 0.5), ours their sum, as the paper has it.
    theirs = MASPlugin()._get_importance(
        SimpleNamespace(
            model=net,
            experience=SimpleNamespace(dataset=data),
            train_mb_size=1,
            device="cpu",
            optimizer=torch.optim.SGD(net.parameters(), 0.1),
        )
    )
    for name, wanted in as_shares(theirs).items():
        torch.testing.assert_close(found[name], wanted, **EXACT)


@avalanche(
    "SynapticIntelligencePlugin",
    "importances of one task",
    "theirs are 0 on a CPU (views, not copies), and at most 0.001; ours are at least 0",
)
def test_si_gathers_the_same_importances_of_one_task(monkeypatch: pytest.MonkeyPatch) -> None:
    def extract(model: nn.Module, target: dict[str, Any], excluded: set[str]) -> None:
        for name, p in SynapticIntelligencePlugin.allowed_parameters(model, excluded):
            target[name].data = p.detach().cpu().flatten().clone()

    # On a CPU theirs keeps views of the weights, not copies: nothing ever seems to move, and all is 0.
    monkeypatch.setattr(SynapticIntelligencePlugin, "extract_weights", staticmethod(extract))
    net, xi = nn.Linear(2, 2), 0.01
    ours, theirs, at_hand = plugin(f"si[damping={xi}]"), SynapticIntelligencePlugin(1.0, eps=xi), stage(net)
    ours.before_training_exp(at_hand)
    theirs.before_training_exp(at_hand)
    for _ in range(5):
        theirs.before_training_iteration(at_hand)
        net.zero_grad()
        sum((p - 1).square().sum() for p in net.parameters()).backward()  # type: ignore[union-attr]
        ours.before_update(at_hand)
        with torch.no_grad():
            for p in net.parameters():
                p -= 0.1 * p.grad
        ours.after_update(at_hand)
        theirs.after_training_iteration(at_hand)
    for change in at_hand.endings:
        change()
    # Without their upper limit of 0.001 and their factor, which ours have not; and ours are not below 0.
    theirs.update_ewc_data(net, theirs.ewc_data, theirs.syn_data, float("inf"), set(), 1.0, eps=xi)
    for name, found in ours.state_dict().items():
        assert float(found.max()) > 0.1
        torch.testing.assert_close(found.flatten(), theirs.ewc_data[1][name].data.clamp(min=0), **EXACT)


@avalanche("ReplayPlugin", "the loss of a step", "its images come from the global random stream, all tasks mixed")
def test_avalanches_replay_has_the_loss_of_ours(run: Run) -> None:
    # ReplayPlugin takes its stored images at the end of a stage from the global random stream, so that they are other
    # ones; what it does with them is the same.
    spy = Rehearsed(1.0, None)
    run("avalanche.training.plugins.ReplayPlugin[mem_size=8]", spy)
    assert spy.steps == 6


@avalanche("AGEMPlugin", "the projection", "its memory batches are forwarded in train mode, and move batch norm")
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


@avalanche("GEMPlugin", "the projection, to 1e-3", "theirs adds 1e-3 to the diagonal of GG'")
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

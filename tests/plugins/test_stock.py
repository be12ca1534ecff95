"""Avalanche's own plug-ins: what is refused in a sentence, and what is adapted so that it runs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from avalanche.training import plugins
from avalanche.training.plugins import AGEMPlugin, BiCPlugin, ReplayPlugin, RWalkPlugin, SynapticIntelligencePlugin
from stock_plugins import PACKAGE, PAGE, SUBJECTS, names, page
from torch import nn

from cl_bench.errors import UserError
from cl_bench.plugins.adapted import ADAPTED, _norms
from cl_bench.plugins.composition import parse
from cl_bench.plugins.stock import MIXING, REFUSED, refusal
from cl_bench.plugins.traits import traits_of
from cl_bench.runner.prepare import prepare


def built(text: str) -> Any:
    (plugin,) = parse(PACKAGE + text).terms[0].build()
    return plugin


def step(model: nn.Module, plugin: Any, at_hand: Any) -> None:
    """Take a step of gradient descent on the distance of all weights from 1."""
    plugin.before_training_iteration(at_hand)
    model.zero_grad()
    sum((p - 1).square().sum() for p in model.parameters()).backward()  # type: ignore[union-attr]
    with torch.no_grad():
        for p in model.parameters():
            p -= 0.1 * p.grad
    plugin.after_training_iteration(at_hand)


@pytest.mark.parametrize("name", [name for name in names() if name in REFUSED])
def test_what_cannot_train_is_refused_in_a_sentence_that_names_it(name: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(f"{PACKAGE}{name}[anything=1]")
    said = str(caught.value)
    assert said == f"strategy {PACKAGE}{name} cannot be used here: {REFUSED[name]}"
    assert "\n" not in said


def test_the_same_class_is_refused_wherever_it_is_named() -> None:
    with pytest.raises(UserError, match="the one head that all classes share"):
        parse("avalanche.training.plugins.bic.BiCPlugin")
    with pytest.raises(UserError, match="steps would be counted twice"):
        parse("avalanche.training.plugins.clock.Clock")
    assert refusal(type("Own", (BiCPlugin,), {"__module__": "mine"})) is None, "what is made from one may do better"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("avalanche.core.BasePlugin", "it is what plug-ins are made from"),
        ("avalanche.logging.InteractiveLogger", "there are `trackers`"),
        (f"{PACKAGE}EWCPlugin[ewc_lambda=abc]", "does not accept its settings: ewc_lambda is a number"),
        (f"{PACKAGE}EWCPlugin[ewc_lambda=-1]", "ewc_lambda must not be negative"),
        (f"{PACKAGE}ReplayPlugin[mem_size=-1]", "mem_size must not be negative"),
        (f"{PACKAGE}ReplayPlugin[mem_size=10,storage_policy=foo]", "setting storage_policy takes an object"),
    ],
)
def test_what_would_fail_or_do_nothing_in_the_stages_is_refused_before_them(text: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(text)
    assert said in str(caught.value)


def test_of_names_that_are_none_plugins_alone_are_offered() -> None:
    with pytest.raises(UserError, match=r"unknown plug-in 'Nope'; known: AGEMPlugin, EWCPlugin, [\w, ]+Plugin$"):
        parse(f"{PACKAGE}Nope")
    for text in ("avalanche.", "string.x"):
        with pytest.raises(UserError, match=r"unknown plug-in '.?'; known: none"):
            parse(text)


def test_every_name_is_a_class_of_avalanches() -> None:
    known = {cls.__name__ for cls in _below(plugins.SupervisedPlugin.__base__)}
    assert {*REFUSED, *ADAPTED, *MIXING} <= known | {"PackNetPlugin", "BasePlugin", "BaseSGDPlugin"}


def _below(cls: Any) -> list[Any]:
    import avalanche.training.losses
    import avalanche.training.plugins.checkpoint
    import avalanche.training.templates  # noqa: F401 - imported for their classes

    return [one for sub in cls.__subclasses__() for one in (sub, *_below(sub))]


def test_gem_without_its_solver_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "quadprog", None)
    with pytest.raises(UserError, match="it needs the package quadprog, the extra `gem`"):
        parse(f"{PACKAGE}GEMPlugin[patterns_per_experience=8,memory_strength=0.5]")


def test_what_is_adapted_is_still_of_elsewhere_and_its_key_has_the_code_of_both() -> None:
    (term,) = parse(f"{PACKAGE}AGEMPlugin[patterns_per_experience=8,sample_size=4]").terms
    (plugin,), (traits,) = term.build(), term.traits
    assert isinstance(plugin, AGEMPlugin)
    assert (plugin.patterns_per_experience, plugin.sample_size) == (8, 4)
    assert (traits.opaque, traits.tells_of_images, traits.acts_from) == (True, False, 1)
    stock = traits_of(AGEMPlugin(8, 4)).code
    assert set(term.code()) == {stock, traits.code}
    assert traits.code not in (None, stock)


def test_agem_flattens_gradients_of_weights_that_lay_otherwise() -> None:
    model = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    built("AGEMPlugin[patterns_per_experience=8,sample_size=4]").before_training(SimpleNamespace(model=model))
    model(torch.randn(2, 3, 8, 8).to(memory_format=torch.channels_last)).sum().backward()
    assert model.weight.grad.view(-1).shape == (108,)


def test_si_gathers_importances_on_a_cpu() -> None:
    model = nn.ModuleDict({"used": nn.Linear(2, 2), "idle": nn.Linear(2, 2)})
    model["idle"].requires_grad_(True)
    plugin, at_hand = built("SynapticIntelligencePlugin[si_lambda=1.0,eps=0.01]"), SimpleNamespace(model=model)
    assert isinstance(plugin, SynapticIntelligencePlugin)
    start = model["used"].bias.detach().clone()
    plugin.before_training_exp(at_hand)
    plugin.before_training_iteration(at_hand)
    (model["used"].bias - 1).square().sum().backward()
    slope = model["used"].bias.grad.clone()
    with torch.no_grad():
        model["used"].bias -= 0.1 * slope
    plugin.after_training_iteration(at_hand)
    assert model["idle"].bias.grad is None, "what had no gradient has none again"
    moved = model["used"].bias.detach() - start
    torch.testing.assert_close(plugin.syn_data["trajectory"]["used.bias"].data, slope * moved)
    plugin.after_training_exp(at_hand)
    wanted = (-slope * moved / (moved.square() + 0.01)).clamp(max=0.001)
    torch.testing.assert_close(plugin.ewc_data[1]["used.bias"].data, wanted)
    assert float(wanted.max()) > 0
    assert not plugin.ewc_data[1]["idle.bias"].data.any()


@pytest.mark.parametrize("steps", [3, 12])
def test_rwalks_penalty_is_finite_after_few_steps_and_unchanged_after_more(steps: int) -> None:
    def after(plugin: Any) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        model = nn.Linear(2, 2)
        clock = SimpleNamespace(train_iterations=0, train_exp_counter=0)
        batch = [torch.randn(4, 2), torch.randn(4, 2), torch.zeros(4)]
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        at_hand = SimpleNamespace(model=model, clock=clock, mbatch=batch, optimizer=optimizer, device="cpu")
        at_hand._criterion = nn.MSELoss()
        plugin.before_training(at_hand)
        for _ in range(steps):
            step(model, plugin, at_hand)
            clock.train_iterations += 1
        plugin.after_training_exp(at_hand)
        if type(plugin) is not RWalkPlugin:
            assert model.training
        return {name: penalty.data for name, penalty in plugin.exp_penalties.items()}

    ours, theirs = after(built("RWalkPlugin[delta_t=10]")), after(RWalkPlugin(delta_t=10))
    if steps < 10:
        assert all(penalty.isnan().all() for penalty in theirs.values()), "no longer needed"
        assert all(penalty.isfinite().all() and (penalty <= 1).all() for penalty in ours.values())
        assert max(float(penalty.max()) for penalty in ours.values()) == 1
    else:
        for name, penalty in ours.items():
            torch.testing.assert_close(penalty, theirs[name], rtol=0, atol=0)


def test_what_mixes_tasks_in_a_batch_is_refused_where_images_have_several_sizes(tiny: Callable[..., str]) -> None:
    from conftest import TINY

    tasks = [{**task, "image_size": 96 if task["name"] == "cls" else 64} for task in TINY["tasks"]]  # type: ignore[attr-defined]
    with pytest.raises(UserError) as caught:
        prepare(tiny(tasks=tasks, strategies=[f"{PACKAGE}ReplayPlugin"]))
    assert "images of several tasks into one batch, and their sizes differ (64 in seg, 64 in det, 96 in cls)" in str(
        caught.value
    )
    assert traits_of(ReplayPlugin()).mixes
    assert built("AGEMPlugin[patterns_per_experience=8,sample_size=4]")


def test_every_plug_in_of_avalanches_has_a_row_and_no_other() -> None:
    assert [subject.partition("[")[0] for subject in SUBJECTS] == sorted(
        subject.partition("[")[0] for subject in SUBJECTS
    )
    assert {subject.partition("[")[0] for subject in SUBJECTS} == set(names())


def test_the_page_has_a_row_of_every_plug_in() -> None:
    text = Path(PAGE).read_text()
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == list(SUBJECTS)
    assert text == page(text, rows), "make plugins writes it anew"


def test_mas_takes_norms_of_every_output_that_a_batch_asks_for() -> None:
    boxes, labels = torch.randn(2, 5, 3, 3), torch.randn(1, 4)
    outputs = {1: (torch.tensor([0, 2]), boxes), 0: (torch.tensor([1]), labels)}
    wanted = torch.cat([boxes.square().sum(1).flatten(), labels.square().sum(1)])
    found = _norms(None, None, outputs)
    torch.testing.assert_close(torch.norm(found, p="fro", dim=1).pow(2), wanted)

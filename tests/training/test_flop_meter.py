"""Counted operations of training against known answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from spy import Spy
from torch import nn
from torch.utils._python_dispatch import is_in_any_mode_without_ignore_compile_internals as counting
from torch.utils.flop_counter import FlopCounterMode

from cl_bench.model.flops import FlopCounter
from cl_bench.report.tables.drops import notes
from cl_bench.results.export import stage_costs
from cl_bench.results.rows import read_results
from cl_bench.results.summary import summary
from cl_bench.runner.prepare import Prepared, prepare
from cl_bench.training.harness import Harness


def flops_of(work: Callable[[], object]) -> int:
    with FlopCounter() as counter:
        work()
    return counter.total


@pytest.mark.parametrize("groups", [1, 4, 8])
@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_a_backward_pass_costs_two_forward_ones_however_many_groups(kind: type[nn.Conv2d], groups: int) -> None:
    layer, images = kind(8, 16, 3, padding=1, groups=groups, bias=False), torch.zeros(2, 8, 10, 10, requires_grad=True)
    forward = flops_of(lambda: layer(images))
    assert forward == 2 * 2 * 16 * 10 * 10 * 8 * 9 // groups
    assert flops_of(lambda: layer(images).sum().backward()) == 3 * forward
    images.requires_grad_(False)
    assert flops_of(lambda: layer(images).sum().backward()) == 2 * forward, "none for images that need no gradient"


def test_a_whole_model_counts_as_torch_counts_it() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
    images = torch.zeros(2, 3, 10, 10)
    steps = {"train": lambda: model(images).sum().backward(), "infer": torch.inference_mode()(lambda: model(images))}
    for work in steps.values():
        with FlopCounterMode(display=False) as known:
            work()
        assert flops_of(work) == known.get_total_flops() > 0


Costs = Callable[..., dict[str, float]]


@pytest.fixture
def costs(results: Path, with_stages: Callable[[Prepared], Prepared]) -> Costs:
    """Return a function that tells what the second stage of an experiment costs under each strategy."""

    def find(path: str, strategies: list[str]) -> dict[str, float]:
        prepared = with_stages(prepare(path, strategies=strategies, orders=[["seg", "det"]]))
        second = {run.strategy: run.stages[1] for run in prepared.plan.runs}
        return {name: prepared.store.describe(key)["cost"]["training_flops"] for name, key in second.items()}

    return find


def test_a_teacher_costs_a_third_and_a_memory_as_much_again(tiny: Callable[..., str], costs: Costs) -> None:
    found = costs(tiny(augment={}), ["naive", "kd", "replay", "kd+replay", "wise_ft"])
    naive = found.pop("naive")
    assert found["wise_ft"] == naive
    relative = {name: flops / naive for name, flops in found.items()}
    # Frozen layers and predictors of their own take them a little off.
    assert relative["kd"] == pytest.approx(4 / 3, abs=0.1)
    assert relative["replay"] == pytest.approx(2, abs=0.15)
    assert relative["kd+replay"] == pytest.approx(8 / 3, abs=0.2)


def test_steps_are_added_up(tiny: Callable[..., str], costs: Costs) -> None:
    one, two, four = (costs(tiny(name=f"x{n}", epochs=n, schedule="per_stage"), ["naive"])["naive"] for n in (1, 2, 4))
    assert four - two == 2 * (two - one) > 0


def test_a_table_tells_the_multiply_adds_of_an_image(
    tiny: Callable[..., str], results: Path, with_stages: Callable[[Prepared], Prepared]
) -> None:
    prepared = with_stages(prepare(tiny(orders=[["seg", "det"]])))
    found = stage_costs(prepared.folder)["multiply_adds"]
    assert found.nunique() == 1
    assert found.min() > 1e6
    results = read_results(prepared.folder)
    shown = f"{found.min() / 1e9:.2f} billion multiply-adds for an image"
    assert any(shown in note for note in notes(summary(results), results))


def test_steps_before_the_counted_one_and_epochs_of_one_step_are_in_it(tiny: Callable[..., str], costs: Costs) -> None:
    by_steps = {
        steps: costs(tiny(name=f"b{steps}", epochs=1, batch_size=12 // steps, augment={}), ["naive"])["naive"]
        for steps in (1, 2, 3)
    }
    assert by_steps[2] == by_steps[3] > 0, "as the images are the same"
    assert by_steps[1] == pytest.approx(by_steps[2], rel=0.1), "what is done once is in it"


def test_an_expert_is_paid_for(tiny: Callable[..., str], costs: Costs) -> None:
    found = costs(tiny(), ["naive", "expert_kd"])
    assert found["expert_kd"] == pytest.approx((1 + 4 / 3) * found["naive"], rel=0.1)


def test_nothing_is_counted_after_a_step_that_failed(second_stage: Callable[..., Spy]) -> None:
    class Fails(Spy):
        def before_backward(self, strategy: Harness, **_: Any) -> None:
            if counting():  # which it is not in an epoch's first step
                raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError, match="out of luck"):
        second_stage("naive", Fails())
    assert not counting()

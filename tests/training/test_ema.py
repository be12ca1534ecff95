"""The moving average of weights: known values, and the model as it was afterwards."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from cl_bench.training.ema import averaged, swapped


def layer(value: float) -> nn.Linear:
    found = nn.Linear(1, 1, bias=False)
    nn.init.constant_(found.weight, value)
    return found


def test_the_decay_is_warmed_up_and_then_the_one_asked_for() -> None:
    model = layer(0.0)
    average = averaged(model, 0.5)
    expected = None
    for update in range(40):
        nn.init.constant_(model.weight, float(update))
        average.update_parameters(model)
        decay = min(0.5, (1 + update) / (10 + update))
        expected = float(update) if expected is None else decay * expected + (1 - decay) * update
        assert average.module.weight.item() == pytest.approx(expected)


def test_the_model_has_the_average_inside_and_its_own_weights_after() -> None:
    model = layer(1.0)
    average = averaged(model, 0.9)
    average.update_parameters(model)
    nn.init.constant_(model.weight, 3.0)
    with swapped(model, average):
        assert model.weight.item() == 1.0
    assert model.weight.item() == 3.0
    with swapped(model, None):
        assert model.weight.item() == 3.0


def test_equal_weights_keep_their_bits() -> None:
    model = nn.Linear(64, 64)
    before = model.weight.detach().clone()
    average = averaged(model, 0.99)
    for _ in range(5):
        average.update_parameters(model)
    assert torch.equal(average.module.weight, before)

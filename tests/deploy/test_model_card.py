"""The model card: what it counts is what the model has and does."""

from __future__ import annotations

import pytest
import torch
from conftest import TINY
from torch import nn

from cl_bench.config.presets import load_experiment
from cl_bench.deploy.model_card import count_parameters, model_card, parts_of, untrained_model
from cl_bench.errors import UserError
from cl_bench.model.flops import multiply_adds


def test_the_literal_card_has_the_specified_counts() -> None:
    lines = {line[:28].strip(): line for line in model_card("unified_onehead", ["image_size=128"]).splitlines()}
    for part, parameters in {
        "backbone": "3,595,388",
        "neck": "503,552",
        "shared layer": "73,792",
        "seg predictor": "1,365",
        "det predictor": "390",
        "cls predictor": "650",
        "total": "4,175,137",
    }.items():
        assert lines[part].split()[len(part.split())] == parameters
    assert lines["det predictor"].endswith("detection, 10 classes, literal, stride 32")
    assert lines["seg predictor"].endswith("segmentation, 21 classes, linear, stride 8")
    assert "one 128x128 image" in model_card("unified_onehead", ["image_size=128"])


def test_multiply_adds_against_values_by_hand() -> None:
    model = untrained_model(load_experiment("unified_onehead", {"image_size": 128}))
    done = {part.name: part.multiply_adds for part in parts_of(model, 128)}
    cells = 16 * 16 + 4 * 4  # levels 8 and 32
    assert done["shared layer"] == 128 * 64 * 9 * cells
    assert done["seg predictor"] == 64 * 21 * 16 * 16
    assert done["det predictor"] == 64 * 6 * 4 * 4
    assert done["cls predictor"] == 64 * 10
    inner = 40 * 16 * 16 + 112 * 8 * 8 + 320 * 4 * 4
    assert done["neck"] == 128 * inner + 128 * 128 * 9 * cells
    assert done["backbone"] > done["neck"]


def test_multiply_adds_grow_with_the_area() -> None:
    model = untrained_model(load_experiment("unified_onehead", {"image_size": 64}))
    small, large = ({part.name: part.multiply_adds for part in parts_of(model, size)} for size in (64, 128))
    for part in ("neck", "shared layer", "seg predictor"):
        assert large[part] == 4 * small[part] > 0
    # What a backbone squeezes to one number a channel does not grow.
    assert large["backbone"] / small["backbone"] == pytest.approx(4, rel=0.05)


def test_a_stage_s_cost_is_the_card_s_total() -> None:
    model = untrained_model(load_experiment("unified_onehead", {"image_size": 64}))
    assert multiply_adds(model, 64) == sum(part.multiply_adds for part in parts_of(model, 64)) > 0


def test_counting_leaves_the_model_as_it_was() -> None:
    model = untrained_model(load_experiment("unified_onehead", {"image_size": 64}))
    parts_of(model, 64)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert not model.training


def test_buffers_are_no_parameters() -> None:
    assert count_parameters(nn.BatchNorm2d(5)) == 10
    assert count_parameters(nn.ReLU()) == 0


def test_classes_come_from_the_data_where_none_are_named(tiny) -> None:
    model = untrained_model(load_experiment(tiny()))
    with torch.no_grad():
        outputs = model(torch.zeros(1, 3, 64, 64))
    assert {name: output.shape[1] for name, output in outputs.items()} == {"seg": 11, "det": 15, "cls": 10}


def test_several_image_sizes_have_no_one_card(tiny) -> None:
    tasks = [{**TINY["tasks"][0], "image_size": 96}, *TINY["tasks"][1:]]
    with pytest.raises(UserError, match=r"tasks of tiny have image sizes \[64, 96\]; set one with --set image_size=N"):
        model_card(tiny(tasks=tasks))

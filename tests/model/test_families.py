"""Twelve families of backbones: each is trained on every kind of task, or refused in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import TINY

from cl_bench.runner.prepare import prepare
from cl_bench.stages.trainer import Trainer

FAMILIES = {
    "resnet": "resnet10t",
    "resnext": "resnext26ts",
    "regnet": "regnetx_002",
    "convnext": "test_convnext",
    "efficientnet": "test_efficientnet",
    "mobilenetv4": "mobilenetv4_conv_small_035",
    "dla": "dla46_c",
    "hrnet": "hrnet_w18_small",
    "pvt": "pvt_v2_b0",
    "edgenext": "edgenext_xx_small",
    "swin": "swin_tiny_patch4_window7_224",
    "maxvit": "test_maxvit",
}
"""The smallest of each that timm has."""


@pytest.mark.parametrize("name", FAMILIES.values(), ids=FAMILIES)
def test_a_step_of_every_kind(name: str, tiny: Callable[..., str], results: Path) -> None:
    tiny_model: Any = TINY["model"]
    experiment = tiny(model={**tiny_model, "backbone": name}, epochs=1, batch_size=12)
    prepared = prepare(experiment, strategies=["joint"])
    (run,) = prepared.plan.runs
    (key,) = run.stages
    assert (prepared.plan.stages[key].trained, prepared.steps(prepared.plan.stages[key])) == (("seg", "det", "cls"), 3)
    Trainer(prepared.experiment, prepared.catalog, prepared.weights, prepared.store).train(prepared.plan, [key])
    assert key in prepared.store

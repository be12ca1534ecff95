"""A backbone is run once before anything else: its maps are measured, and what cannot serve is refused."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from conftest import TINY, message
from torch import Tensor, nn

from cl_bench.config.presets import load_experiment
from cl_bench.deploy.model_card import model_card, untrained_model
from cl_bench.model import trial
from cl_bench.model.backbone import build_backbone
from cl_bench.model.maps import STRIDES, Layout, UnfitError, measure
from cl_bench.model.trial import _tried, try_backbone
from cl_bench.runner.executors.base import Job
from cl_bench.runner.prepare import prepare
from cl_bench.utils.randomness import seed_all

SWIN = "swin_tiny_patch4_window7_224"


def with_backbone(name: str) -> dict[str, Any]:
    own: Any = TINY["model"]
    return {**own, "backbone": name}


def shapes(layout: Layout, side: int) -> list[tuple[int, int, int]]:
    return [(count, side // s, side // s) for count, s in zip(layout.channels, STRIDES, strict=True)]


@pytest.mark.parametrize("name", ["dla34", "dla46_c", "tresnet_m", "csatv2"])
def test_maps_that_timm_numbers_by_stage_are_those_of_the_right_strides(name: str) -> None:
    layout = try_backbone(name, [96])
    with torch.no_grad():
        maps = build_backbone(name, layout).eval()(torch.zeros(1, 3, 96, 96))
    assert [tuple(one.shape[1:]) for one in maps] == shapes(layout, 96)
    assert layout.renumbered


@pytest.mark.parametrize(("side", "built_for"), [(224, None), (96, 96)])
def test_maps_with_the_channels_last_are_turned_and_a_fixed_size_is_passed(
    tiny: Callable[..., str], side: int, built_for: int | None
) -> None:
    model = untrained_model(load_experiment(tiny(model=with_backbone(SWIN), image_size=side)))
    layout = try_backbone(SWIN, [side])
    assert (layout.channels_last, layout.img_size, layout.channels) == (True, built_for, (192, 384, 768))
    with torch.no_grad():
        maps = model.maps(torch.zeros(1, 3, side, side))
    assert [tuple(one.shape[1:]) for one in maps] == shapes(layout, side)
    assert model.out_of_reach(frozenset([0])), "it is run at a size that it takes"


def test_what_works_is_asked_for_as_it_was() -> None:
    assert measure("tf_efficientnet_lite0", [96]) == Layout((2, 3, 4), (40, 112, 320), False, None, 64, False)


def test_no_random_stream_moves() -> None:
    drawn = []
    for look in (lambda: None, lambda: measure("mobilenetv3_small_050", [64])):
        seed_all(1)
        look()
        drawn.append((torch.rand(1).item(), np.random.random(), random.random()))  # noqa: NPY002
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize(
    ("name", "sides", "reason"),
    [
        ("vit_tiny_patch16_224", [96], "at 96 pixels: its maps have strides 16, 16, 16, not 8, 16 and 32"),
        ("inception_v3", [96], "at 96 pixels: its maps have strides 2.13, 4.8, 10.7, 24, 96, not"),
        (SWIN, [96, 224], "at 96 and 224 pixels: it does not run (AssertionError: Input height"),
    ],
)
def test_what_cannot_serve_is_refused_with_three_that_can(
    name: str, sides: list[int], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = cache(measure)  # what was found to serve need not be tried twice
    monkeypatch.setattr(trial, "measure", measured)
    said = message(try_backbone, name, sides)
    assert f"backbone {name} cannot serve {reason}" in said
    others = said.rsplit("; ones that can: ", 1)[1].split(", ")
    assert len(set(others)) == 3
    assert name not in others
    for other in others:
        assert measured(other, tuple(sides))


class _Odd(nn.Module):
    """Gives what is asked of it at the strides 8, 16 and 32, and says so or not."""

    def __init__(self, said: list[int], change: Callable[[Tensor], Tensor], **_: Any) -> None:
        super().__init__()
        self.feature_info = timm.models._features.FeatureInfo(
            [{"num_chs": 4, "reduction": stride, "module": "", "index": i} for i, stride in enumerate(said)], (0, 1, 2)
        )
        self.change = change

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.change(images.new_zeros(2, 4, images.shape[2] // s, images.shape[3] // s)) for s in STRIDES]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda x: x.flatten(2), "what it gives are no maps"),
        (lambda x: x[..., 1:], "strides 0, 0, 0, not 8, 16 and 32"),
        (nn.InstanceNorm2d(4), "Expected more than 1 spatial element when training"),
        (lambda x: x[:, :, 2:, 2:], "strides 16, 0, 0, not 8, 16 and 32"),
    ],
)
def test_maps_that_cannot_be_taken(
    change: Callable[[Tensor], Tensor], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _tried.cache_clear()
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: _Odd([8, 16, 32], change))
    monkeypatch.setattr(trial, "_others", lambda *_: iter("abc"))
    assert reason in message(try_backbone, "resnet18", [32])


def test_a_backbone_without_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: object, **__: object) -> nn.Module:
        raise RuntimeError("features_only not implemented")

    monkeypatch.setattr(timm, "create_model", refuses)
    with pytest.raises(UnfitError, match=r"it gives no feature maps \(RuntimeError: features_only not implemented\)"):
        measure("resnet18", [64])


def test_a_backbone_that_says_wrong_strides_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: _Odd([4, 8, 16], lambda x: x))
    assert measure("resnet18", [64]) == Layout((0, 1, 2), (4, 4, 4), False, None, 64, True)


def test_it_is_refused_before_data_are_read(
    tiny: Callable[..., str], results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cl_bench.runner.prepare.load_catalog", lambda *_: pytest.fail("data were read"))
    monkeypatch.setattr("cl_bench.runner.prepare.load_weights", lambda *_: pytest.fail("weights were fetched"))
    monkeypatch.setattr(trial, "_others", lambda *_: iter("abc"))
    experiment = tiny(model=with_backbone("vit_tiny_patch16_224"))
    for ask in (prepare, model_card):
        assert "vit_tiny_patch16_224 cannot serve at 64 pixels" in message(ask, experiment)


def test_workers_are_told_what_was_found(
    tiny: Callable[..., str], results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job.of(prepare(tiny()))
    _tried.cache_clear()
    monkeypatch.setattr(trial, "measure", lambda *_: pytest.fail("it was tried again"))
    _plan, trainer = job.trainer()
    assert trainer.untrained(0)


def test_only_stages_whose_maps_were_others_have_new_keys(tiny: Callable[..., str], results: Path) -> None:
    found = {name: prepare(tiny(model=with_backbone(name))).plan for name in ("dla46_c", "mobilenetv3_small_050")}
    maps = {
        name: [stage.identity["model"].get("maps") for stage in plan.stages.values()] for name, plan in found.items()
    }
    assert set(map(tuple, maps["dla46_c"])) == {(3, 4, 5)}
    assert set(maps["mobilenetv3_small_050"]) == {None}

"""Teachers that run once an image: their answers, how often they run, and that a stage keeps its bits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TINY, message
from spy import Spy

from cl_bench.model.pyramid import LEVELS
from cl_bench.runner.prepare import prepare
from cl_bench.stages.trainer import Trainer
from cl_bench.training.harness import Harness
from cl_bench.training.teachers import FeatureCache

PLAIN = {"augment": {}, "teacher_cache": True}


class Compare(Spy):
    """Keeps how far the stored features are from recomputed ones, and how often the teacher ran."""

    def __init__(self) -> None:
        super().__init__()
        self.away: list[float] = []
        self.batches_run: list[int] = []

    def before_training_exp(self, strategy: Harness, **_: Any) -> None:
        super().before_training_exp(strategy)
        assert strategy.teacher is not None
        strategy.teacher.backbone.register_forward_hook(lambda module, maps, out: self.batches_run.append(len(maps[0])))

    def before_backward(self, strategy: Harness, **_: Any) -> None:
        found = strategy.teacher_features()
        ran = list(self.batches_run)
        with torch.no_grad(), strategy.autocast():
            again = [strategy.teacher.features(images) for images, _ in strategy.passes]
            for stored, plain in zip(found, again, strict=True):
                self.away += [float((stored[level] - plain[level]).abs().max()) for level in (8, 16, 32)]
        self.batches_run = ran


def test_a_cached_teacher_runs_once_an_image_and_says_the_same(second_stage: Callable[..., Spy]) -> None:
    spy = Compare()
    second_stage("kd+replay[memory=2]", spy, epochs=2, **PLAIN)
    assert spy.batches_run == [1] * (12 + 2), "of the task at hand, and of the memory"
    assert len(spy.away) == 2 * 3 * 3
    assert max(spy.away) < 1e-4


def test_images_of_several_sizes_are_cached(second_stage: Callable[..., Spy]) -> None:
    spy = Compare()
    tasks = [{**task, "image_size": 96} if task["name"] == "seg" else task for task in TINY["tasks"]]
    second_stage("kd+replay[memory=2]", spy, epochs=2, tasks=tasks, **PLAIN)
    assert spy.batches_run == [1] * (12 + 2)
    assert len(spy.away) == 2 * 2 * 3 * 3
    assert max(spy.away) < 1e-4


def test_features_are_cached_at_the_precision_of_the_stage(second_stage: Callable[..., Spy]) -> None:
    spy = Compare()
    second_stage("kd", spy, epochs=2, precision="bfloat16", **PLAIN)
    assert spy.batches_run == [1] * 12
    assert max(spy.away) < 0.1


def test_no_more_images_are_kept_than_there_can_be() -> None:
    model = torch.nn.Module()
    calls: list[int] = []
    model.features = lambda images: calls.append(len(images)) or dict.fromkeys(LEVELS, images)  # type: ignore[assignment]
    model.shared = torch.nn.Identity()
    stored = FeatureCache(model, most=2)  # type: ignore[arg-type]
    images = torch.arange(4, dtype=torch.uint8).reshape(4, 1, 1, 1).expand(4, 3, 2, 2)
    assert torch.equal(stored(images)[8], images)
    assert torch.equal(stored(images)[32], images)
    assert calls == [1] * (4 + 2)


def test_both_versions_of_an_image_that_is_flipped_are_kept(second_stage: Callable[..., Spy]) -> None:
    spy = Compare()
    second_stage("kd", spy, epochs=6, augment={"flip": True}, teacher_cache=True)
    assert 12 < len(spy.batches_run) <= 24
    assert max(spy.away) < 1e-4


def test_a_cached_stage_that_is_resumed_has_the_bits_of_one_that_was_not(
    tiny: Callable[..., str], results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare(tiny(orders=[["seg", "det"]], epochs=3, **PLAIN), strategies=["kd"])
    trainer = Trainer(prepared.experiment, prepared.catalog, prepared.weights, prepared.store)
    first, second = prepared.plan.runs[0].stages
    trainer.train(prepared.plan, [first])
    trainer.train(prepared.plan, [second])
    whole = prepared.store.describe(second)["hashes"]["last"]
    prepared.store.discard(second)

    save = prepared.store.checkpoints.save

    def save_and_stop(*arguments: Any) -> None:
        save(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(prepared.store.checkpoints, "save", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            trainer.train(prepared.plan, [second])
    assert prepared.store.checkpoints.path(second).exists()
    trainer.train(prepared.plan, [second])
    assert prepared.store.describe(second)["hashes"]["last"] == whole


def test_a_teacher_that_moves_is_not_cached(second_stage: Callable[..., Spy]) -> None:
    cached, plain = (second_stage("ema_teacher", augment={}, teacher_cache=on) for on in (True, False))
    assert cached.last == plain.last


def test_what_has_nothing_to_cache_is_shared_with_runs_of_no_cache(tiny: Callable[..., str], results: Path) -> None:
    keys = []
    for on in (True, False):
        plan = prepare(tiny(augment={}, teacher_cache=on), strategies=["naive", "kd"]).plan
        keys.append({run.strategy: run.stages for run in plan.runs})
    assert keys[0]["naive"] == keys[1]["naive"]
    assert keys[0]["kd"][0] == keys[1]["kd"][0]
    assert keys[0]["kd"][1] != keys[1]["kd"][1]


def test_images_that_do_not_repeat_are_refused(tiny: Callable[..., str], results: Path) -> None:
    said = message(prepare, tiny(augment={"flip": True, "colour": 0.1}, teacher_cache=True))
    assert "teacher_cache is for images that repeat; those of task seg are augmented" in said

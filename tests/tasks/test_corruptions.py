"""Corrupted images: another domain of the same task."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY, message
from PIL import Image

from cl_bench.config.schema import Corruption, validate
from cl_bench.data.images import decode_image
from cl_bench.errors import UserError
from cl_bench.runner.prepare import prepare
from cl_bench.tasks.corruptions import CORRUPTIONS, decoder


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A photograph."""
    from sklearn.datasets import load_sample_images

    path = tmp_path / "a.png"
    Image.fromarray(load_sample_images().images[0]).resize((160, 120)).save(path)
    return path


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_severer_corruption_changes_more_and_is_the_same_each_time(name: str, picture: Path) -> None:
    clean = decode_image(picture, 64).astype(float)
    changed = []
    for severity in (1, 3, 5):
        decode = decoder(Corruption(name=name, severity=severity))
        found = decode(picture, 64)
        assert (found.shape, found.dtype) == ((64, 64, 3), np.uint8)
        assert (found == decode(picture, 64)).all()
        changed.append(np.abs(found - clean).mean())
    assert changed[0] > 0
    if name != "saturation":  # first less colour, then more
        assert changed == sorted(changed)


def test_a_corrupted_task_is_another_task_with_pixels_of_its_own(tiny: Callable[..., str], results: Path) -> None:
    path = tiny(orders=[["cls"]], epochs=1)
    changes = {"tasks.cls.corruption": {"name": "noise", "severity": 5}}
    clean, noisy = prepare(path), prepare(path, changes=changes)
    assert set(clean.plan.stages).isdisjoint(noisy.plan.stages)
    from cl_bench.stages.trainer import Trainer

    images = []
    for prepared in (clean, noisy):
        trainer = Trainer(prepared.experiment, prepared.catalog, prepared.weights, prepared.store)
        images.append([dataset.plain[0][0].float() for dataset in trainer.datasets("cls", 0)])
    for of_clean, of_noisy in zip(*images, strict=True):
        assert 60 < (of_clean - of_noisy).std() < 97


def test_an_unknown_corruption_is_refused() -> None:
    task = {"name": "a", "kind": "classification", "data": {"format": "scenes"}, "corruption": {"name": "fog"}}
    with pytest.raises(UserError, match=r"tasks\.0\.corruption\.name: .*'noise'"):
        validate({"name": "x", "tasks": [task]}, "x")


@pytest.mark.parametrize("name", ["noise", "jpeg", "blur"])
def test_what_would_shrink_with_larger_training_images_is_refused(
    tiny: Callable[..., str], results: Path, name: str
) -> None:
    tasks = [{**task, "corruption": {"name": name}} for task in TINY["tasks"] if task["name"] == "seg"]
    path = tiny(tasks=tasks, augment={"oversize": 2})
    if name == "blur":
        prepare(path)
    else:
        said = f"task seg: {name} is put on images at 2.0 times their size, and shrinks with them"
        assert said in message(prepare, path)


def test_a_blur_that_blurs_nothing_is_refused(tiny: Callable[..., str], results: Path) -> None:
    tasks = [{**task, "corruption": {"name": "blur", "severity": 1}} for task in TINY["tasks"] if task["name"] == "cls"]
    assert "blur of severity 1 changes no image of 32 pixels" in message(prepare, tiny(tasks=tasks, image_size=32))


def test_brightness_and_saturation_are_changed_as_colours_and_not_in_each_channel(tmp_path: Path) -> None:
    """The published forms, on a dull orange: hue 30 degrees, saturation 0.5, value 0.6."""
    path = tmp_path / "orange.png"
    Image.new("RGB", (32, 32), (153, 115, 76)).save(path)
    wanted = {
        ("brightness", 1): (0.5, 0.7),
        ("brightness", 5): (0.5, 1.0),
        ("saturation", 1): (0.15, 0.6),
        ("saturation", 3): (1.0, 0.6),
        ("saturation", 4): (1.0, 0.6),
    }
    for (name, severity), (saturation, value) in wanted.items():
        found = decoder(Corruption(name=name, severity=severity))(path, 32)[0, 0].tolist()
        red, green, blue = 255 * value, 255 * value * (1 - saturation / 2), 255 * value * (1 - saturation)
        assert found == pytest.approx([red, green, blue], abs=1.5)

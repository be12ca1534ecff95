"""A last batch of one image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from PIL import Image

from cl_bench.errors import UserError
from cl_bench.runner.prepare import prepare


@pytest.fixture
def own(tmp_path: Path) -> Callable[..., str]:
    for split, counts in (("train", (7, 4)), ("val", (2, 2))):
        for name, colour, count in zip(("red", "blue"), ("#dd1111", "#1111dd"), counts, strict=True):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(count):
                shade = Image.new("RGB", (40, 40), colour)
                shade.putpixel((0, 0), (i, i + 50 * (split == "val"), 0))
                shade.save(tmp_path / split / name / f"{i}.png")

    def written(**settings: object) -> str:
        data = {"format": "image_folder", "path": str(tmp_path)}
        content = {
            "description": "own alone",
            "tasks": [{"name": "own", "kind": "classification", "data": data}],
            "strategies": [],
            "model": {
                "backbone": settings.pop("backbone", "mobilenetv3_small_050"),
                "weights": "none",
                "neck_channels": 16,
                "shared_channels": 8,
            },
            **{"image_size": 32, "batch_size": 5, "epochs": 1, "learning_rate": 0.001, "threads": 1, **settings},
        }
        (tmp_path / "own.yaml").write_text(yaml.safe_dump(content))
        return str(tmp_path / "own.yaml")

    return written


@pytest.mark.parametrize("size", [5, 2, 10, 1])
def test_a_last_batch_of_one_is_told_of_before_anything_is_trained(own: Callable[..., str], size: int) -> None:
    said = rf"task own: 11 training images in batches of {size} leave a batch of one, .* at 32 pixels: change"
    with pytest.raises(UserError, match=said):
        prepare(own(batch_size=size))


@pytest.mark.parametrize(
    "settings", [{"batch_size": 4}, {"batch_size": 11}, {"image_size": 64}, {"batch_norm": "frozen"}]
)
def test_what_can_be_trained_is_not_refused(own: Callable[..., str], settings: dict[str, object]) -> None:
    prepared = prepare(own(**settings))
    assert prepared.missing()


def test_a_task_of_its_own_size_is_named(own: Callable[..., str]) -> None:
    file = Path(own(image_size=64))
    content = yaml.safe_load(file.read_text())
    content["tasks"].append({**content["tasks"][0], "name": "small", "image_size": 32})
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(UserError, match="task small: 11 training images"):
        prepare(str(file))

"""Photos turned by their EXIF orientation: what predict and galleries draw lies where viewers show it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image, ImageOps
from pycocotools.mask import decode
from torch import Tensor, nn

from cl_bench.data.base import Boxes, Example, Split
from cl_bench.data.images import decode_image
from cl_bench.deploy.predict import predict
from cl_bench.kinds.base import Task
from cl_bench.plugins.registry import kinds
from cl_bench.results.store.pictures import SIDE
from cl_bench.stages.artifact import draw_pictures

SIZE, BOX = (64, 96), (6, 40, 26, 54)
"""Width and height of the upright photo; left, top, right, bottom of the red thing on it."""
RED = np.array((220, 30, 30))
SEG, DET = (
    Task(i, name, kinds.get(name), classes, kinds.get(name).predictors[0], (8,), 64, kinds.get(name).Settings())
    for i, (name, classes) in enumerate({"segmentation": ("background", "thing"), "detection": ("thing",)}.items())
)


def upright() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 90, (SIZE[1], SIZE[0], 3)).astype(np.uint8)
    pixels[BOX[1] : BOX[3], BOX[0] : BOX[2]] = RED
    return Image.fromarray(pixels)


def photo(file: Path, orientation: int) -> Path:
    """Write the photo as a camera stores it, by the turn whose inverse PIL makes of the orientation."""
    exif = Image.Exif()
    exif[0x0112] = {6: 8, 8: 6}.get(orientation, orientation)
    carrier = upright()
    carrier.info["exif"] = exif.tobytes()
    stored = ImageOps.exif_transpose(carrier)
    exif[0x0112] = orientation
    stored.save(file, exif=exif, quality=95)
    return file


class Perfect(nn.Module):
    """Finds the red thing in an image and answers both tasks without a mistake."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.square = folder / "square.png"
        Image.new("RGB", (64, 64)).save(self.square)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (1, 2, S, S) and raw cells (1, channels, N)."""
        red = (images[0].permute(1, 2, 0) * 255 - torch.from_numpy(RED)).abs().amax(2) < 80
        y, x = torch.nonzero(red, as_tuple=True)
        box = np.array([[int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1]], np.float32)
        target = Boxes(box, np.zeros(1, np.int64), np.zeros(1, bool))
        raw = DET.kind.ideal(DET, Example("square", self.square, target))
        return torch.stack([~red, red])[None].float() * 9, raw[None]


def yellow(image: Image.Image) -> tuple[int, int, int, int]:
    """Return the box around what is drawn as a box."""
    y, x = np.nonzero(np.abs(np.asarray(image).astype(int) - (255, 255, 0)).max(2) < 70)
    return x.min(), y.min(), x.max(), y.max()


def near(box: Any, scale: npt.NDArray[Any], pixels: float) -> bool:
    return bool(np.abs(np.array(box) - np.array(BOX) * np.tile(scale, 2)).max() <= pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_what_is_predicted_lies_on_the_photo_as_viewers_show_it(tmp_path: Path, orientation: int) -> None:
    file = photo(tmp_path / "photo.jpg", orientation)
    model = Perfect(tmp_path)
    trained: Any = SimpleNamespace(
        model=SimpleNamespace(tasks=[SEG, DET]), deployed=lambda: model, image_size=64, origin={}
    )
    drawn, said = predict(trained, file, tmp_path / "out")
    content = json.loads(said.read_text())
    assert content["size"] == list(SIZE)
    (found,) = content["answers"]["detection"]
    assert near(found["box"], np.ones(2), 1.5)
    mask = decode(content["answers"]["segmentation"]["thing"]["rle"])
    truth = np.zeros_like(mask)
    truth[BOX[1] : BOX[3], BOX[0] : BOX[2]] = 1
    assert mask.shape == SIZE[::-1]
    assert (mask & truth).sum() / (mask | truth).sum() > 0.8
    with Image.open(drawn) as picture:
        assert picture.size == SIZE
        assert not picture.getexif().get(0x0112, 0), "a viewer would turn it again"
        assert near(yellow(picture), np.ones(2), 2.5)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_truth_and_prediction_of_a_gallery_lie_on_the_upright_photo(tmp_path: Path, orientation: int) -> None:
    file = photo(tmp_path / "photo.jpg", orientation)
    mask = np.zeros(SIZE[::-1], np.uint8)
    mask[BOX[1] : BOX[3], BOX[0] : BOX[2]] = 1
    Image.fromarray(mask).save(tmp_path / "mask.png")
    boxes = Boxes(np.array([BOX], np.float32), np.zeros(1, np.int64), np.zeros(1, bool))
    pixels = torch.from_numpy(decode_image(file, 64).transpose(2, 0, 1)[None] / np.float32(255))
    outputs = Perfect(tmp_path)(pixels)
    for task, output, target in zip((SEG, DET), outputs, (tmp_path / "mask.png", boxes), strict=True):
        val = Split(task.classes, (Example("photo", file, target),))
        metric = task.kind.metric(task, val)
        metric.update(output, [0])
        assert metric.compute()[task.kind.metrics[0]] > (0.85 if task is SEG else 0.99)
        (shown,) = draw_pictures(task, val, metric.per_image())
        for content in (shown.truth, shown.prediction):
            with Image.open(io.BytesIO(content)) as picture:
                if task is DET:
                    assert near(yellow(picture), SIDE / np.array(SIZE), 8)
                else:
                    # The class' dark red takes a fourth of the thing's light, and nothing else is as light.
                    light = np.asarray(picture)[..., 0].astype(int)
                    y, x = np.nonzero((light > 120) & (light < 200))
                    assert near((x.min(), y.min(), x.max() + 1, y.max() + 1), SIDE / np.array(SIZE), 8)

"""Tilted cards on photographs, whose four corners are to be found: embedded data for keypoints."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from pydantic import BaseModel, Field, ValidationError

from cl_bench.data.base import Example, Split
from cl_bench.errors import UserError
from cl_bench.paths import cache_root, make_writable
from cl_bench.randomness import derive
from cl_bench.registry import formats

VERSION = 1
CORNERS = ("top left", "top right", "bottom right", "bottom left")
SIDE = 64
"""Pixels of a card before it is tilted."""


class Options(BaseModel, frozen=True, extra="forbid", strict=True):
    """Numbers of images, their side in pixels, and the seed."""

    train: int = Field(240, ge=1, le=9999)
    val: int = Field(60, ge=1, le=9999)
    size: int = Field(160, ge=64, le=1024)
    seed: int = Field(0, ge=0, lt=2**32)


@formats.register
class Cards:
    """Handwritten digits on tilted cards on photographs; train and val share neither digits nor photograph."""

    name = "cards"
    kinds = ("keypoints",)
    embedded = True

    def read(self, options: Mapping[str, Any], kind: str, split: str, classes: tuple[str, ...] | None) -> Split:
        """Read `split`, after drawing the set where the cache has none; a target is four (x, y), in pixels."""
        if classes not in (None, CORNERS):
            raise UserError(f"data format cards: its points are {', '.join(CORNERS)}, in this order")
        try:
            parsed = Options.model_validate(dict(options))
        except ValidationError as error:
            first = error.errors()[0]
            raise UserError(f"data format cards: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
        folder = _drawn(parsed) / split
        points = json.loads((folder / "points.json").read_text(encoding="utf-8"))
        examples = (Example(name, folder / f"{name}.png", tuple(map(tuple, found))) for name, found in points.items())
        return Split(CORNERS, tuple(examples))


def _drawn(options: Options) -> Path:
    parent = make_writable(cache_root() / "cards")
    folder = parent / f"{VERSION}-{options.train}-{options.val}-{options.size}-{options.seed}"
    if folder.is_dir():
        return folder
    with tempfile.TemporaryDirectory(dir=parent, prefix=".") as temporary:
        made = Path(temporary) / "made"
        for split, count in (("train", options.train), ("val", options.val)):
            (made / split).mkdir(parents=True)
            points = {}
            for index in range(count):
                image, corners = card(options, split, index)
                image.save(made / split / f"{index:04d}.png")
                points[f"{index:04d}"] = corners
            (made / split / "points.json").write_text(json.dumps(points), encoding="utf-8")
        try:
            made.rename(folder)
        except OSError as error:
            if not folder.is_dir():  # else another process was first
                raise UserError(f"cannot write to {parent}: {error.strerror or error}") from error
    return folder


def card(options: Options, split: str, index: int) -> tuple[Image.Image, list[list[float]]]:
    """Return one image and its card's corners, clockwise from the digit's upper left."""
    draw = np.random.default_rng(derive("cards", options.seed, split, index))
    size, photograph = options.size, _photographs()[split == "val"]
    left, top = (int(draw.integers(0, side - size // 2)) for side in photograph.size)
    image = photograph.crop((left, top, left + size // 2, top + size // 2)).resize((size, size))
    angle, side = draw.uniform(-np.pi, np.pi), size * draw.uniform(0.3, 0.55)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * side / 2
    corners = (square + draw.uniform(-0.12, 0.12, (4, 2)) * side) @ turn
    corners += draw.uniform(-corners.min(0) + 1, size - corners.max(0) - 1)
    face = _face(int(draw.choice(_digits(split))))
    flat = face.transform((size, size), Image.Transform.PERSPECTIVE, _perspective(corners), Image.Resampling.BILINEAR)
    mask = Image.new("L", (size, size))
    ImageDraw.Draw(mask).polygon([tuple(corner) for corner in corners.tolist()], fill=255)
    image.paste(flat, mask=mask)
    return image, corners.round(2).tolist()


def _perspective(corners: np.ndarray[Any, np.dtype[np.float64]]) -> list[float]:
    """Return the eight coefficients by which PIL finds the card's pixel that is seen at a pixel of the image."""
    rows, wanted = [], []
    for (x, y), (u, v) in zip(corners, ((0, 0), (SIDE, 0), (SIDE, SIDE), (0, SIDE)), strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        wanted += [u, v]
    return np.linalg.solve(np.array(rows), np.array(wanted, float)).tolist()


def _face(digit: int) -> Image.Image:
    from sklearn.datasets import load_digits

    strokes = Image.fromarray((255 - load_digits().images[digit] * 15).astype(np.uint8)).resize((40, 40))
    face = Image.new("RGB", (SIDE, SIDE), (250, 246, 235))
    face.paste(strokes.convert("RGB"), (12, 12))
    ImageDraw.Draw(face).rectangle((2, 2, SIDE - 3, SIDE - 3), outline=(40, 60, 120), width=2)
    return face


def _digits(split: str) -> range:
    return range(1400, 1797) if split == "val" else range(1400)


@cache
def _photographs() -> list[Image.Image]:
    from sklearn.datasets import load_sample_images

    return [Image.fromarray(image) for image in load_sample_images().images]

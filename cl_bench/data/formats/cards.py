"""Tilted cards on photographs, whose four corners are to be found: embedded data for keypoints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from pydantic import BaseModel, Field

from cl_bench.data.base import Example, Split
from cl_bench.data.embedded.samples import digits, photographs
from cl_bench.data.formats.reading import parse_options
from cl_bench.errors import UserError
from cl_bench.plugins.registry import formats
from cl_bench.utils.files import whole_folder
from cl_bench.utils.paths import cache_root
from cl_bench.utils.randomness import derive

VERSION = 1
CORNERS = ("top left", "top right", "bottom right", "bottom left")
SIDE = 64
"""Pixels of a card before it is tilted."""
POOLS = {"train": range(1400), "val": range(1400, 1797)}
"""The digits of each split; test has those of train that no image of train shows."""
SPARE = 40
"""Digits that train must leave to test, where there is a test part."""


class Options(BaseModel, frozen=True, extra="forbid", strict=True):
    """Numbers of images, their side in pixels, and the seed; test is 0 for no test part, and changes no other."""

    train: int = Field(240, ge=1, le=9999)
    val: int = Field(60, ge=1, le=9999)
    test: int = Field(0, ge=0, le=9999)
    size: int = Field(160, ge=64, le=852)  # twice the height of scikit-learn's photographs at most
    seed: int = Field(0, ge=0, lt=2**32)


@formats.register
class Cards:
    """Handwritten digits on tilted cards on photographs; no two splits share a digit or a photograph."""

    name = "cards"
    kinds = ("keypoints",)
    embedded = True

    def read(self, options: Mapping[str, Any], kind: str, split: str, classes: tuple[str, ...] | None) -> Split:
        """Read `split`, after drawing it where the cache has none; a target is four (x, y), in pixels."""
        if classes not in (None, CORNERS):
            raise UserError(f"data format cards: its points are {', '.join(CORNERS)}, in this order")
        folder = _drawn(parse_options("cards", Options, options), split) / split
        points = json.loads((folder / "points.json").read_text(encoding="utf-8"))
        examples = (Example(name, folder / f"{name}.png", tuple(map(tuple, found))) for name, found in points.items())
        return Split(CORNERS, tuple(examples))

    def has_test(self, options: Mapping[str, Any], kind: str) -> bool:
        """Return whether a test part is asked for."""
        return parse_options("cards", Options, options).test > 0


def _drawn(options: Options, split: str) -> Path:
    """Return the folder of train and val, or that of test where `split` is; what is not there is drawn first."""
    if split == "test" and not options.test:
        raise UserError("data format cards: there is no test part where test is 0")
    counts = {"test": options.test} if split == "test" else {"train": options.train, "val": options.val}
    sizes = f"test-{options.test}-{options.train}" if split == "test" else f"{options.train}-{options.val}"
    folder = cache_root() / "cards" / f"{VERSION}-{sizes}-{options.size}-{options.seed}"
    if folder.is_dir():
        return folder
    with whole_folder(folder, shared=True) as made:
        for part, count in counts.items():
            (made / part).mkdir(parents=True)
            points = {}
            for index in range(count):
                image, corners = card(options, part, index)
                image.save(made / part / f"{index:04d}.png")
                points[f"{index:04d}"] = corners
            (made / part / "points.json").write_text(json.dumps(points), encoding="utf-8")
    return folder


@dataclass(frozen=True, eq=False)
class Layout:
    """What an image shows: a crop of a photograph (left, top) and a digit on a card with these corners, (4, 2)."""

    crop: tuple[int, int]
    corners: npt.NDArray[np.float64]
    digit: int


def layout(options: Options, split: str, index: int) -> Layout:
    """Draw what the image shows, without painting it; raise UserError where train leaves no digits to test."""
    draw = np.random.default_rng(derive("cards", options.seed, split, index))
    size, photograph = options.size, _photograph(split)
    left, top = (int(draw.integers(0, side - size // 2)) for side in photograph.size)
    angle, side = draw.uniform(-np.pi, np.pi), size * draw.uniform(0.3, 0.55)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * side / 2
    corners = (square + draw.uniform(-0.12, 0.12, (4, 2)) * side) @ turn
    corners += draw.uniform(-corners.min(0) + 1, size - corners.max(0) - 1)
    pool = _spare(options.seed, options.size, options.train) if split == "test" else POOLS[split]
    return Layout((left, top), corners, int(draw.choice(pool)))


@cache
def _spare(seed: int, size: int, train: int) -> tuple[int, ...]:
    """Return the digits of train's pool that none of its images shows."""
    options, left = Options(seed=seed, size=size, train=train), set(POOLS["train"])
    for index in range(train):
        left.discard(layout(options, "train", index).digit)
        if len(left) < SPARE:
            raise UserError(
                f"data format cards: a test part needs {SPARE} digits that train does not show, and {train} training "
                f"images leave fewer; {index} would leave enough"
            )
    return tuple(sorted(left))


def card(options: Options, split: str, index: int) -> tuple[Image.Image, list[list[float]]]:
    """Return one image and its card's corners, clockwise from the digit's upper left."""
    size, what = options.size, layout(options, split, index)
    (left, top), corners = what.crop, what.corners
    image = _photograph(split).crop((left, top, left + size // 2, top + size // 2)).resize((size, size))
    face = _face(what.digit)
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
    strokes = Image.fromarray((255 - digits()[0][digit] * 15).astype(np.uint8)).resize((40, 40))
    face = Image.new("RGB", (SIDE, SIDE), (250, 246, 235))
    face.paste(strokes.convert("RGB"), (12, 12))
    ImageDraw.Draw(face).rectangle((2, 2, SIDE - 3, SIDE - 3), outline=(40, 60, 120), width=2)
    return face


def _photograph(split: str) -> Image.Image:
    """Return the one that `split` is made from: train and val have scikit-learn's first and second."""
    return list(photographs(split).values())[split == "val"]

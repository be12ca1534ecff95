"""Images and masks of every mode and format, whole and damaged: read as what they are, or refused by their name."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mutation import CASES
from PIL import Image

from cl_bench.data.images import SIDEWAYS, decode_image, decode_mask, image_size, open_image, reading
from cl_bench.errors import UserError

MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F")
FORMATS = {"PNG": ".png", "JPEG": ".jpg", "TIFF": ".tif", "GIF": ".gif", "BMP": ".bmp", "WEBP": ".webp", "PPM": ".ppm"}
HEADER = 120
"""Bytes that are hit most often."""


def made(draw: random.Random) -> tuple[Image.Image, bytes, str, int]:
    """Return a picture, its file and format, and its orientation; of those that PIL cannot write, another one."""
    while True:
        mode, form = draw.choice(MODES), draw.choice(list(FORMATS))
        size = draw.randint(1, 24), draw.randint(1, 24)
        pixels = np.random.default_rng(draw.randrange(2**32)).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
        image = Image.fromarray(pixels)
        if mode == "I;16":
            image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
        elif mode == "LAB":
            image = Image.frombytes("LAB", size, pixels.tobytes())
        else:
            image = image.convert(mode)
        turn = draw.choice((1, 1, 3, 6)) if form in ("PNG", "JPEG", "WEBP") else 1
        exif = Image.Exif()
        exif[0x0112] = turn
        buffer = io.BytesIO()
        try:
            image.save(buffer, form, **({"exif": exif} if turn != 1 else {}))
        except (OSError, ValueError, KeyError):
            continue
        return image, buffer.getvalue(), form, turn


def spoilt(content: bytes, draw: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(draw.choice((0, 1, 1, 2, 4, 16))):
        last = len(changed) if draw.random() < 0.3 else min(HEADER, len(changed))
        changed[draw.randrange(last)] = draw.choice((0, 1, 127, 128, 255, draw.randrange(256)))
    return bytes(changed[: draw.randint(0, len(changed))] if draw.random() < 0.15 else changed)


def answered(act: Callable[..., Any], file: Path, *more: Any) -> Any:
    """Return what `act` says of a file, None where it refuses in a sentence that names it."""
    try:
        return act(file, *more)
    except UserError as error:
        said = str(error)
    assert str(file) in said
    assert "\n" not in said
    return None


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")
def test_images_of_any_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)  # what a damaged header says of its size takes time
    for seed in range(CASES):
        draw = random.Random(seed)
        image, content, form, turn = made(draw)
        harmed = spoilt(content, draw)
        file = tmp_path / f"{seed}{FORMATS[form]}"
        file.write_bytes(harmed)
        size, shown, read = (answered(act, file) for act in (image_size, open_image, reading))
        square, mask = answered(decode_image, file, 8), answered(decode_mask, file, None)
        assert (shown is None) == (square is None), (seed, form, image.mode)
        if shown is not None:
            assert (shown.mode, shown.size) == ("RGB", size), (seed, form, image.mode)
            assert (square.shape, square.dtype) == ((8, 8, 3), np.uint8)
        if mask is not None:
            assert (mask.shape[::-1], mask.dtype) == (size, np.uint8), (seed, form, image.mode)
        if harmed == content:
            assert size == (image.size[::-1] if turn in SIDEWAYS else image.size)
            assert read.orientation == turn
            mode = Image.open(io.BytesIO(content)).mode  # some formats are written in another
            assert (shown is None) == (mode == "F" or (mode == "I" and form == "TIFF")), (form, mode)
            if form == "PNG" and image.mode in ("1", "RGB") and turn == 1:
                assert (np.asarray(shown) == np.asarray(image.convert("RGB"))).all()
        file.unlink()

"""The pictures that a stage keeps: validation images with truth and with prediction drawn on them; no torch."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from cl_bench.errors import UserError

FILE = "pictures.safetensors"
SIDE = 192
"""Pixels of a picture's side; images are squashed to squares, as the model sees them."""


class Picture(NamedTuple):
    """One validation image, by the name of its example: truth and prediction drawn on it, each a JPEG file's bytes."""

    name: str
    truth: bytes
    prediction: bytes


def encode(image: Image.Image) -> bytes:
    """Return a picture's JPEG bytes."""
    content = io.BytesIO()
    image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(content, "JPEG", quality=80)
    return content.getvalue()


def save(pictures: Mapping[str, Sequence[Picture]], path: Path) -> None:
    """Write the pictures of every task into one file."""
    arrays, names = {}, {}
    for task, shown in pictures.items():
        for place, picture in enumerate(shown):
            key = f"{task}/{place:02d}"
            names[key] = picture.name
            arrays[f"{key}/truth"] = np.frombuffer(picture.truth, np.uint8)
            arrays[f"{key}/prediction"] = np.frombuffer(picture.prediction, np.uint8)
    save_file(arrays, path, metadata=names)


def load(path: Path, task: str) -> list[Picture]:
    """Return the pictures of one task, none where the file is not there; raise UserError where it is torn."""
    if not path.is_file():
        return []
    try:
        with safe_open(path, "numpy") as file:
            names = file.metadata() or {}
            return [
                Picture(names[key], *(file.get_tensor(f"{key}/{what}").tobytes() for what in ("truth", "prediction")))
                for key in sorted(names)
                if key.rpartition("/")[0] == task
            ]
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} is torn: {error}") from error

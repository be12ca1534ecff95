"""Another domain of the same task: images corrupted as in ImageNet-C (arXiv:1903.12261), by severities 1 to 5."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from cl_bench.config.schema import Corruption, Protocol
from cl_bench.data.cache import Decoder
from cl_bench.data.images import decode_image
from cl_bench.errors import UserError
from cl_bench.utils.randomness import derive

REFERENCE = 224
"""The side in pixels that the severities of blur are meant for; others scale with the image."""


def _noise(image: Tensor, amount: float, draw: np.random.Generator) -> Tensor:
    noise = torch.from_numpy(draw.standard_normal(image.shape, np.float32))
    return (image.float() + 255 * amount * noise).round().clamp(0, 255).to(torch.uint8)


def _blur(image: Tensor, sigma: float, draw: np.random.Generator) -> Tensor:
    scaled, reach = _kernel(sigma, image.shape[-1])
    return F.gaussian_blur(image, [2 * reach + 1] * 2, [scaled] * 2)


def _kernel(sigma: float, side: int) -> tuple[float, int]:
    """Return the standard deviation of a blur in pixels of an image of `side` of them, and how far it reaches."""
    scaled = sigma * side / REFERENCE
    return scaled, round(3 * scaled)


def _brightness(image: Tensor, amount: float, draw: np.random.Generator) -> Tensor:
    return _in_hsv(image, lambda hue, saturation, value: (hue, saturation, value + amount))


def _contrast(image: Tensor, factor: float, draw: np.random.Generator) -> Tensor:
    return F.adjust_contrast(image, factor)


def _saturation(image: Tensor, change: tuple[float, float], draw: np.random.Generator) -> Tensor:
    factor, shift = change
    return _in_hsv(image, lambda hue, saturation, value: (hue, factor * saturation + shift, value))


def _in_hsv(image: Tensor, change: Callable[..., tuple[npt.NDArray[np.float64], ...]]) -> Tensor:
    from matplotlib.colors import hsv_to_rgb, rgb_to_hsv

    parts = rgb_to_hsv(image.permute(1, 2, 0).numpy() / 255)
    changed = hsv_to_rgb(np.stack(change(*np.moveaxis(parts, -1, 0)), -1).clip(0, 1))
    return torch.from_numpy((255 * changed).round().astype(np.uint8)).permute(2, 0, 1)


def _jpeg(image: Tensor, quality: float, draw: np.random.Generator) -> Tensor:
    return F.jpeg(image, int(quality))


def _pixelate(image: Tensor, share: float, draw: np.random.Generator) -> Tensor:
    side = max(1, round(image.shape[-1] * share))
    small = F.resize(image, [side, side], F.InterpolationMode.BILINEAR, antialias=True)
    return F.resize(small, list(image.shape[-2:]), F.InterpolationMode.NEAREST)


Change = Callable[[Tensor, Any, np.random.Generator], Tensor]
CORRUPTIONS: dict[str, tuple[Change, tuple[Any, ...]]] = {
    "noise": (_noise, (0.08, 0.12, 0.18, 0.26, 0.38)),
    "blur": (_blur, (1, 2, 3, 4, 6)),
    "brightness": (_brightness, (0.1, 0.2, 0.3, 0.4, 0.5)),
    "contrast": (_contrast, (0.4, 0.3, 0.2, 0.1, 0.05)),
    "saturation": (_saturation, ((0.3, 0), (0.1, 0), (2, 0), (5, 0.1), (20, 0.2))),
    "jpeg": (_jpeg, (25, 18, 15, 10, 7)),
    "pixelate": (_pixelate, (0.6, 0.5, 0.4, 0.3, 0.25)),
}
"""Name -> what it does to an image (3, S, S) uint8, and how strongly at each severity."""


def check_corruption(task: str, corruption: Corruption, protocol: Protocol) -> None:
    """Raise UserError where training images would be less corrupt than those that are scored, or no image corrupt."""
    name, severity, oversize = corruption.name, corruption.severity, protocol.augment.oversize
    if name in ("noise", "jpeg") and oversize != 1:
        raise UserError(
            f"task {task}: {name} is put on images at {oversize} times their size, and shrinks with them: set "
            "augment.oversize to 1"
        )
    if name == "blur" and not _kernel(CORRUPTIONS["blur"][1][severity - 1], protocol.image_size)[1]:
        raise UserError(f"task {task}: blur of severity {severity} changes no image of {protocol.image_size} pixels")


def corruption_identity(corruption: Corruption) -> dict[str, Any]:
    """Return what a corruption contributes to a stage's key: two of them were done in RGB before."""
    return {**corruption.model_dump(), **({"in": "HSV"} if corruption.name in ("brightness", "saturation") else {})}


def decoder(corruption: Corruption) -> Decoder:
    """Return what decodes an image and corrupts it; noise depends on its file's name alone."""
    change, strengths = CORRUPTIONS[corruption.name]
    strength = strengths[corruption.severity - 1]

    def corrupted(path: Path, size: int) -> npt.NDArray[np.uint8]:
        image = torch.from_numpy(np.array(decode_image(path, size))).permute(2, 0, 1)
        draw = np.random.default_rng(derive("corruption", corruption.name, path.name))
        return np.ascontiguousarray(change(image, strength, draw).permute(1, 2, 0).numpy())

    return corrupted

"""Another domain of the same task: images corrupted as in ImageNet-C (arXiv:1903.12261), by severities 1 to 5."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from cl_bench.config.schema import Corruption
from cl_bench.data.cache import Decoder
from cl_bench.data.images import decode_image
from cl_bench.utils.randomness import derive

REFERENCE = 224
"""The side in pixels that the severities of blur are meant for; others scale with the image."""


def _noise(image: Tensor, amount: float, draw: np.random.Generator) -> Tensor:
    noise = torch.from_numpy(draw.standard_normal(image.shape, np.float32))
    return (image.float() + 255 * amount * noise).round().clamp(0, 255).to(torch.uint8)


def _blur(image: Tensor, sigma: float, draw: np.random.Generator) -> Tensor:
    scaled = sigma * image.shape[-1] / REFERENCE
    return F.gaussian_blur(image, [2 * round(3 * scaled) + 1] * 2, [scaled] * 2)


def _brightness(image: Tensor, amount: float, draw: np.random.Generator) -> Tensor:
    return (image.float() + 255 * amount).clamp(0, 255).to(torch.uint8)


def _contrast(image: Tensor, factor: float, draw: np.random.Generator) -> Tensor:
    return F.adjust_contrast(image, factor)


def _saturation(image: Tensor, factor: float, draw: np.random.Generator) -> Tensor:
    return F.adjust_saturation(image, factor)


def _jpeg(image: Tensor, quality: float, draw: np.random.Generator) -> Tensor:
    return F.jpeg(image, int(quality))


def _pixelate(image: Tensor, share: float, draw: np.random.Generator) -> Tensor:
    side = max(1, round(image.shape[-1] * share))
    small = F.resize(image, [side, side], F.InterpolationMode.BILINEAR, antialias=True)
    return F.resize(small, list(image.shape[-2:]), F.InterpolationMode.NEAREST)


Change = Callable[[Tensor, float, np.random.Generator], Tensor]
CORRUPTIONS: dict[str, tuple[Change, tuple[float, float, float, float, float]]] = {
    "noise": (_noise, (0.08, 0.12, 0.18, 0.26, 0.38)),
    "blur": (_blur, (1, 2, 3, 4, 6)),
    "brightness": (_brightness, (0.1, 0.2, 0.3, 0.4, 0.5)),
    "contrast": (_contrast, (0.4, 0.3, 0.2, 0.1, 0.05)),
    "saturation": (_saturation, (0.3, 0.1, 2.0, 5.0, 20.0)),
    "jpeg": (_jpeg, (25, 18, 15, 10, 7)),
    "pixelate": (_pixelate, (0.6, 0.5, 0.4, 0.3, 0.25)),
}
"""Name -> what it does to an image (3, S, S) uint8, and how strongly at each severity."""


def decoder(corruption: Corruption) -> Decoder:
    """Return what decodes an image and corrupts it; noise depends on its file's name alone."""
    change, strengths = CORRUPTIONS[corruption.name]
    strength = strengths[corruption.severity - 1]

    def corrupted(path: Path, size: int) -> npt.NDArray[np.uint8]:
        image = torch.from_numpy(np.array(decode_image(path, size))).permute(2, 0, 1)
        draw = np.random.default_rng(derive("corruption", corruption.name, path.name))
        return np.ascontiguousarray(change(image, strength, draw).permute(1, 2, 0).numpy())

    return corrupted

"""The neck: a feature pyramid of which only those levels are computed that something asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork

from cl_bench.weights import STRIDES

LEVELS = (*STRIDES, 64)
"""Strides of the pyramid; 64 is the max-pooled one."""


class Pyramid(FeaturePyramidNetwork):
    """torchvision's feature pyramid (Lin et al., CVPR 2017), a level a call: the finest costs as much as a backbone."""

    def forward(self, maps: Sequence[Tensor], stride: int, known: dict[Any, Tensor]) -> Tensor:
        """Return the level (B, C, h, w) at `stride` of `maps`, the backbone's at strides 8, 16 and 32.

        known: what earlier calls with the same maps computed; this one's are added.
        """
        if stride not in known:
            known[stride] = self._level(maps, stride, known)
        return known[stride]

    def _level(self, maps: Sequence[Tensor], stride: int, known: dict[Any, Tensor]) -> Tensor:
        if stride not in STRIDES:
            return F.max_pool2d(self.forward(maps, STRIDES[-1], known), kernel_size=1, stride=2)
        place = STRIDES.index(stride)
        return self.get_result_from_layer_blocks(self._merged(maps, place, known), place)

    def _merged(self, maps: Sequence[Tensor], place: int, known: dict[Any, Tensor]) -> Tensor:
        """Return a map with all coarser ones added to it."""
        key = ("merged", place)
        if key not in known:
            coarser = self._merged(maps, place + 1, known) if place + 1 < len(maps) else None
            merged = self.get_result_from_inner_blocks(maps[place], place)
            if coarser is not None:
                merged = merged + F.interpolate(coarser, size=merged.shape[-2:], mode="nearest")
            known[key] = merged
        return known[key]

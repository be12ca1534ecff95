"""The neck: a feature pyramid of which only those levels are computed that something asks for."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork

from cl_bench.model.maps import STRIDES

LEVELS = (*STRIDES, 64)
"""Strides of the pyramid; 64 is the max-pooled one."""


class Pyramid(FeaturePyramidNetwork):
    """torchvision's (Lin et al., CVPR 2017) with a max-pooled level, a level a call.

    The finest takes a third of a small backbone's multiply-adds, and tasks that do without it need not wait.
    """

    def forward(self, maps: Sequence[Tensor], stride: int, known: dict[tuple[str, int], Tensor]) -> Tensor:
        """Return the level (B, C, h, w) at `stride` of `maps`, the backbone's at strides 8, 16 and 32.

        known: what earlier calls with the same maps have left here. Raises ValueError for a stride not in `LEVELS`.
        """
        if stride == LEVELS[-1]:
            return F.max_pool2d(self._level(maps, STRIDES[-1], known), kernel_size=1, stride=2)
        return self._level(maps, stride, known)

    def _level(self, maps: Sequence[Tensor], stride: int, known: dict[tuple[str, int], Tensor]) -> Tensor:
        place, key = STRIDES.index(stride), ("level", stride)
        if key not in known:
            known[key] = self.layer_blocks[place](self._merged(maps, place, known))
        return known[key]

    def _merged(self, maps: Sequence[Tensor], place: int, known: dict[tuple[str, int], Tensor]) -> Tensor:
        """Return a map with all coarser ones added to it."""
        key = ("merged", STRIDES[place])
        if key not in known:
            coarser = self._merged(maps, place + 1, known) if place + 1 < len(STRIDES) else None
            merged = self.inner_blocks[place](maps[place])
            if coarser is not None:
                merged = merged + F.interpolate(coarser, size=merged.shape[-2:], mode="nearest")
            known[key] = merged
        return known[key]

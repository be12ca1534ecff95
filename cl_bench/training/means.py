"""Means over the steps of an epoch, kept on the device: reading a value would wait for what is yet to be computed."""

from __future__ import annotations

from collections import defaultdict
from functools import partial

import torch
from torch import Tensor


class RunningMeans:
    """Sums and counts of named values; device: where the values are."""

    def __init__(self, device: torch.device) -> None:
        self._sums: dict[str, Tensor] = defaultdict(partial(torch.zeros, (), device=device))
        self._counts: dict[str, int] = defaultdict(int)

    def add(self, name: str, value: Tensor) -> None:
        """Take a value, a tensor of one number."""
        self._sums[name] += value.reshape(())
        self._counts[name] += 1

    def read(self) -> dict[str, float]:
        """Return the mean of every name, and wait for the device."""
        return {name: float(total) / self._counts[name] for name, total in self._sums.items()}

"""The exponential moving average of a model's weights (Polyak and Juditsky, 1992; decay warmed up as in timm)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def averaged(model: nn.Module, decay: float) -> AveragedModel:
    """Return the average of the parameters of `model`, to be updated after every step; buffers are the latest."""

    def update(average: list[Tensor], latest: list[Tensor], updates: Tensor | int) -> None:
        # Young averages follow closely, so that the first weights do not linger in them.
        warm = min(decay, (1 + int(updates)) / (10 + int(updates)))
        torch._foreach_lerp_(average, latest, 1 - warm)

    return AveragedModel(model, multi_avg_fn=update)  # type: ignore[arg-type]


@contextmanager
def swapped(model: nn.Module, average: AveragedModel | None) -> Iterator[None]:
    """Give `model` the weights of `average`, where there is one, until the context ends."""
    if average is None:
        yield
        return
    kept = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(average.module.state_dict())
    try:
        yield
    finally:
        model.load_state_dict(kept)

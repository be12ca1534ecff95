"""The exponential moving average of a model's weights (Polyak and Juditsky, 1992; decay warmed up as in timm)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def averaged(model: nn.Module, decay: float) -> AveragedModel:
    """Return the average of the parameters of `model`, to be updated after every step; buffers are the latest."""

    def update(means: list[Tensor], latest: list[Tensor], _: Tensor | int) -> None:
        # Young averages follow closely, so that the first weights do not linger in them. The number is read where it
        # is, as what is passed is a copy on the model's device, for which the host would wait.
        updates = int(counter)
        torch._foreach_lerp_(means, latest, 1 - min(decay, (1 + updates) / (10 + updates)))

    average = AveragedModel(model, multi_avg_fn=update)  # type: ignore[arg-type]
    counter = average.n_averaged  # and not the average, which would be in a cycle
    return average


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

"""Floating-point operations of training: a cost that no other work on the machine changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import conv_flop_count, flop_registry


class FlopCounter(TorchDispatchMode):
    """Counts what is computed inside, convolutions by formulas of our own and all else by torch's.

    torch's FlopCounterMode also keeps a tally by module, for which a small step takes four times as long.
    """

    _single: ClassVar[set[Any]] = {torch.ops.aten.native_batch_norm.default}
    """Operations with none that is counted inside; batch norm's own way of coming apart is a slow one."""

    paused: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """Compute one operation and add what it takes."""
        kwargs = kwargs or {}
        formula = _formula(func)
        if formula is None and func not in self._single:
            # In inference mode operations come whole, with what is counted inside of them.
            with self:
                found = func.decompose(*args, **kwargs)
            if found is not NotImplemented:
                return found
            self._single.add(func)
        found = func(*args, **kwargs)
        if formula is not None and not self.paused:
            self.total += formula(*args, **kwargs, out_val=found)
        return found


@contextmanager
def uncounted() -> Iterator[None]:
    """Count nothing of what is computed inside: it is no part of training, and done again when a stage is resumed."""
    FlopCounter.paused = True
    try:
        yield
    finally:
        FlopCounter.paused = False


def multiply_adds(model: nn.Module, image_size: int) -> int:
    """Return the multiply-adds of a forward pass for one image; model: in evaluation mode."""
    image = torch.zeros(1, 3, image_size, image_size, device=next(model.parameters()).device)
    with torch.inference_mode(), FlopCounter() as counter:
        model(image)
    return counter.total // 2


@cache
def _formula(operation: Any) -> Any:
    return _CONVOLUTIONS.get(operation) or flop_registry.get(operation.overloadpacket)


def _convolution(images: Tensor, weight: Tensor, *options: Any, out_val: Tensor, **_: Any) -> int:
    return conv_flop_count(list(images.shape), list(weight.shape), list(out_val.shape), options[-3])


def _convolution_backward(gradient: Tensor, images: Tensor, weight: Tensor, *options: Any, **_: Any) -> int:
    transposed, _padding, _groups, wanted = options[-4:]
    # The gradients of images and of weights each take what the forward pass took.
    return conv_flop_count(list(images.shape), list(weight.shape), list(gradient.shape), transposed) * sum(wanted[:2])


_CONVOLUTIONS = {
    torch.ops.aten.convolution.default: _convolution,
    torch.ops.aten.convolution_backward.default: _convolution_backward,
}
"""torch's own take as long as the Python around all other operations, and a grouped backward pass for a dense one."""

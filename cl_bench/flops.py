"""Floating-point operations of training: a cost that no other work on the machine changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from avalanche.core import SupervisedPlugin
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import conv_flop_count, flop_registry

if TYPE_CHECKING:
    from cl_bench.training import Harness


class FlopMeter(SupervisedPlugin):
    """Adds up the operations of a stage's steps: convolutions and matrix products, forward and backward, of all models.

    Counting slows a step, so the second one of an epoch stands for all of them, as the first may do more; and each
    task's first one in epochs of one step or of several tasks. What plug-ins do outside of steps is not in it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0.0
        self._counting = ExitStack()

    @contextmanager
    def stage(self, total: float) -> Iterator[None]:
        """Count what is trained inside, on top of `total`."""
        self.total = total
        with self._counting:  # a step that raises must not be counted on for ever
            yield

    def before_training_epoch(self, strategy: Harness, **_: Any) -> None:
        """Count anew: strategies may do more, or less, from some epoch on."""
        self._counted = 1 if len(strategy.experience.task_labels) > 1 else min(2, len(strategy.dataloader))
        self._steps: Counter[int] = Counter()
        self._operations: dict[int, int] = {}

    def before_training_iteration(self, strategy: Harness, **_: Any) -> None:
        """Begin to count where the step stands for others."""
        self._task = int(strategy.mb_task_id[0])
        self._steps[self._task] += 1
        if self._steps[self._task] == self._counted:
            self._counter = self._counting.enter_context(FlopCounter())

    def after_training_iteration(self, strategy: Harness, **_: Any) -> None:
        """Add the step, and with the one that is counted those before it."""
        steps = self._steps[self._task]
        if steps == self._counted:
            self._counting.close()
            self._operations[self._task] = self._counter.total
            self.total += steps * self._counter.total
        elif steps > self._counted:
            self.total += self._operations[self._task]

    def state_dict(self) -> dict[str, Tensor]:
        """Return the sum so far, for a stage that is resumed."""
        return {"total": torch.tensor(self.total, dtype=torch.float64)}

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Go on from a sum."""
        self.total = float(tensors["total"])


class FlopCounter(TorchDispatchMode):
    """Counts what is computed inside, convolutions by formulas of our own and all else by torch's.

    torch's FlopCounterMode also keeps a tally by module, for which a small step takes four times as long.
    """

    _single: ClassVar[set[Any]] = {torch.ops.aten.native_batch_norm.default}
    """Operations with none that is counted inside; batch norm's own way of coming apart is a slow one."""

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
        if formula is not None:
            self.total += formula(*args, **kwargs, out_val=found)
        return found


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

"""Floating-point operations of training: a cost that no other work on the machine changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from avalanche.core import SupervisedPlugin
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import conv_flop_count, flop_registry

if TYPE_CHECKING:
    from cl_bench.training import Harness

COUNTED = 2
"""Steps of a task that are counted in an epoch."""


class FlopMeter(SupervisedPlugin):
    """Adds up the operations of a stage's steps: convolutions and matrix products, forward and backward, of all models.

    Counting slows a step, so the second one of each task in an epoch stands for all of them; the first one may do more,
    as what is looked up once, and counts where there is no other. What plug-ins do outside of steps is not in it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0.0
        self._of_steps: dict[int, list[int]] = defaultdict(list)
        self._counting = ExitStack()

    @contextmanager
    def stage(self, total: float) -> Iterator[None]:
        """Count what is trained inside, on top of `total`."""
        self.total = total
        with self._counting:  # a step that raises must not be counted on for ever
            yield

    def before_training_epoch(self, strategy: Harness, **_: Any) -> None:
        """Count anew: strategies may do more, or less, from some epoch on."""
        self._of_steps = defaultdict(list)

    def before_training_iteration(self, strategy: Harness, **_: Any) -> None:
        """Begin to count the first steps of a task."""
        self._task = int(strategy.mb_task_id[0])
        if len(self._of_steps[self._task]) < COUNTED:
            self._counter = self._counting.enter_context(FlopCounter())

    def after_training_iteration(self, strategy: Harness, **_: Any) -> None:
        """Add the step."""
        found = self._of_steps[self._task]
        if len(found) < COUNTED:
            self._counting.close()
            found.append(self._counter.total)
            if len(found) == COUNTED:
                self.total += found[-1] - found[0]
        self.total += found[-1]

    def state_dict(self) -> dict[str, Tensor]:
        """Return the sum so far, for a stage that is resumed."""
        return {"total": torch.tensor(self.total, dtype=torch.float64)}

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Go on from a sum."""
        self.total = float(tensors["total"])


class FlopCounter(TorchDispatchMode):
    """Counts what is computed inside, by torch's own formulas but for a grouped convolution's backward pass.

    torch's FlopCounterMode also keeps a tally by module, for which a small step takes four times as long.
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """Compute one operation and add what it takes."""
        kwargs = kwargs or {}
        formula = _formula(func)
        if formula is None:
            # In inference mode operations come whole, with what is counted inside of them.
            with self:
                found = func.decompose(*args, **kwargs)
            return func(*args, **kwargs) if found is NotImplemented else found
        found = func(*args, **kwargs)
        self.total += formula(*args, **kwargs, out_val=found)
        return found


def _formula(operation: Any) -> Any:
    if operation is torch.ops.aten.convolution_backward.default:
        return _convolution_backward
    return flop_registry.get(operation.overloadpacket)


def _convolution_backward(gradient: Tensor, images: Tensor, weight: Tensor, *options: Any, **_: Any) -> int:
    transposed, _padding, _groups, wanted = options[-4:]
    # The gradients of images and of weights each take what the forward pass took; torch's takes all groups for dense.
    return conv_flop_count(list(images.shape), list(weight.shape), list(gradient.shape), transposed) * sum(wanted[:2])

"""The neck: torchvision's own bits, whatever is asked for, in whatever order."""

from __future__ import annotations

import itertools
from collections import OrderedDict

import pytest
import torch
from torch import Tensor
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool

from cl_bench.model.pyramid import LEVELS, Pyramid
from cl_bench.utils.randomness import isolated

CHANNELS = [4, 6, 8]


def maps() -> list[Tensor]:
    with isolated(seed=1):
        # Odd sides, as images of sides that 32 does not divide have them.
        return [torch.randn(2, c, side, side).requires_grad_() for c, side in zip(CHANNELS, (13, 7, 4), strict=True)]


def both() -> tuple[Pyramid, FeaturePyramidNetwork]:
    with isolated(seed=0):
        own = Pyramid(CHANNELS, 5)
    torchvisions = FeaturePyramidNetwork(CHANNELS, 5, extra_blocks=LastLevelMaxPool())
    torchvisions.load_state_dict(own.state_dict())
    return own, torchvisions


@pytest.mark.parametrize("order", list(itertools.permutations(LEVELS)))
def test_levels_and_gradients_are_those_of_torchvision_in_any_order(order: tuple[int, ...]) -> None:
    own, torchvisions = both()
    ours, theirs = maps(), maps()
    wanted = dict(zip(LEVELS, torchvisions(OrderedDict(enumerate(theirs))).values(), strict=True))
    known: dict[tuple[str, int], Tensor] = {}
    found = {level: own(ours, level, known) for level in order}
    assert all(torch.equal(found[level], wanted[level]) for level in LEVELS)
    for levels in (found, wanted):
        torch.stack([levels[level].square().sum() for level in LEVELS]).sum().backward()
    pairs = [*zip(ours, theirs, strict=True), *zip(own.parameters(), torchvisions.parameters(), strict=True)]
    assert all(torch.equal(a.grad, b.grad) for a, b in pairs)  # type: ignore[arg-type]


def test_what_nobody_asks_for_is_not_computed() -> None:
    own, _ = both()
    own(ours := maps(), 32, {}).sum().backward()
    computed = {name for name, p in own.named_parameters() if p.grad is not None}
    assert {name.split(".")[1] for name in computed} == {"2"}
    assert [m.grad is not None for m in ours] == [False, False, True]


def test_other_strides_are_refused() -> None:
    with pytest.raises(ValueError, match="not in tuple"):
        both()[0](maps(), 4, {})
